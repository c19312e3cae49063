"""Words by which a user says what y is; here by themselves, since they cost little to import."""

from asfusion._stubs import public_targets

AUTO = "auto"
# The field has other words for two of the targets.
_CALLED = {"classes": "classification", "numbers": "regression"}
# The file of the target behind each word.
FILES = {_CALLED.get(name, name): name for name in public_targets()}
TASKS = (AUTO, *sorted(FILES))
