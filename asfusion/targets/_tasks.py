"""Words by which a user says what y is; here by themselves, since they cost nothing to import."""

AUTO = "auto"
CLASSIFICATION = "classification"
REGRESSION = "regression"
SURVIVAL = "survival"
TASKS = (AUTO, CLASSIFICATION, REGRESSION, SURVIVAL)
