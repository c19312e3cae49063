"""Early, joint and late fusion as scikit-learn estimators."""
