from .classifier import TableFoundationClassifier as TableFoundationClassifier
from .regressor import TableFoundationRegressor as TableFoundationRegressor
from .weights import use_weights as use_weights
