"""`load`: read a saved model, with the closed list of classes that it may name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asfusion._checks import suggestion
from asfusion.bundle.objects import Bundled, describe_bundle, load_bundle
from asfusion.exceptions import BundleError, ConfigurationError
from asfusion.fusion._resolve import head_class, head_names

_MODULES = {
    "asfusion.baselines.regressors": (
        "BasdaiRegressor",
        "BasfiRegressor",
        "ClinicalIndexRegressor",
    ),
    "asfusion.estimators.early": ("EarlyFusionClassifier", "EarlyFusionRegressor"),
    "asfusion.estimators.joint": ("JointFusionClassifier", "JointFusionRegressor"),
    "asfusion.estimators.late": ("LateFusionClassifier", "LateFusionRegressor"),
    "asfusion.estimators.recalibrated": ("RecalibratedClassifier",),
    "asfusion.estimators.conformal_classifier": ("ConformalClassifier",),
    "asfusion.estimators.conformal_regressor": ("ConformalRegressor",),
    "asfusion.training.options": ("TrainingOptions",),
    "asfusion.encoders.concepts": ("ConceptEncoder",),
    "asfusion.encoders.genotypes": ("GenotypeEncoder",),
    "asfusion.encoders.image": ("ImageEncoder",),
    "asfusion.encoders.volume": ("VolumeEncoder",),
    "asfusion.encoders.visits": ("VisitEncoder",),
    "asfusion.encoders.slices": ("SliceEncoder",),
    "asfusion.encoders.text": ("TextEncoder",),
    "asfusion.encoders.tabular": ("TabularEncoder",),
    "asfusion.targets.classes": ("Classes",),
    "asfusion.targets.numbers": ("Numbers",),
}
_ALLOWED = {f"{module}:{name}" for module, names in _MODULES.items() for name in names}
_MAX_BYTES = 8 << 30


def load(path: str | Path, *, trusted: Iterable[type] = (), max_bytes: int = _MAX_BYTES) -> Any:
    """Read a model that `save` wrote.

    No code runs from the folder: it holds numbers, text and trees; files are checked by
    size and hash before they are parsed, and only asfusion's own classes are made, and
    those that you pass.

    Parameters
    ----------
    path : str or Path
        The folder.
    trusted : iterable of type
        Your own encoder or fusion classes that the model uses.
    max_bytes : int
        Most bytes to read in all.

    Returns
    -------
    estimator
        The fitted model, as it was saved.

    Raises
    ------
    BundleError
        If the folder is not a saved model, was changed or cut, or names another class.

    Examples
    --------
    >>> import tempfile, numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> model = af.EarlyFusionClassifier().fit(X, X[:, 0] > 0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = af.load(model.save(folder + "/model.asf"))
    >>> bool((again.predict(X) == model.predict(X)).all())
    True
    """
    own = {}
    for kind in trusted:
        if not isinstance(kind, type):
            msg = f"trusted: expected classes, got an object of type {type(kind).__name__}."
            raise ConfigurationError(msg)
        own[f"{kind.__module__}:{kind.__qualname__}"] = kind

    def resolve(name: str) -> type:
        if isinstance(name, str) and name in own:
            return own[name]
        return _resolve(name)

    model = load_bundle(Path(path), resolve, max_bytes=max_bytes)
    if not (isinstance(model, Bundled) and hasattr(model, "predict")):
        raise BundleError("load: expected a saved estimator, got something else.")
    return model


def describe(path: str | Path) -> tuple[dict[str, Any], Any]:
    """Return the manifest and the state tree of a saved model, restoring nothing."""
    return describe_bundle(Path(path), max_bytes=_MAX_BYTES)


def _resolve(name: object) -> type:
    """Return the class of a name on the closed list; nothing is imported before that."""
    if isinstance(name, str):
        module, _, kind = name.partition(":")
        if name in _ALLOWED:
            found: type = getattr(importlib.import_module(module), kind)
            return found
        head = module.removeprefix("asfusion.fusion.")
        if module.startswith("asfusion.fusion.") and head in head_names():
            fusion = head_class(head)
            if fusion.__qualname__ == kind:
                return fusion
    hint = suggestion(name, _ALLOWED) if isinstance(name, str) else ""
    msg = (
        "load: the model names a class that is not asfusion's own. If it is yours, pass it: "
        f"asfusion.load(path, trusted=[YourClass]).{hint}"
    )
    raise BundleError(msg)
