from .regressors import compare_baselines as compare_baselines
