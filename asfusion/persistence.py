"""`load`: read a saved model, with the closed list of classes that it may name."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, overload

from asfusion._checks import in_words, suggestion
from asfusion._described import Described
from asfusion._door import public
from asfusion._stubs import public_names
from asfusion.bundle.objects import Bundled, describe_bundle, load_bundle
from asfusion.exceptions import BundleError, ConfigurationError

_MAX_BYTES = 8 << 30


Model = TypeVar("Model")


@overload
def load(
    path: str | Path,
    kind: type[Model],
    *,
    trusted: Iterable[type] = (),
    max_bytes: int = _MAX_BYTES,
) -> Model: ...


@overload
def load(
    path: str | Path,
    kind: None = None,
    *,
    trusted: Iterable[type] = (),
    max_bytes: int = _MAX_BYTES,
) -> Any: ...


@public
def load(
    path: str | Path,
    kind: type[Any] | None = None,
    *,
    trusted: Iterable[type] = (),
    max_bytes: int = _MAX_BYTES,
) -> Any:
    """Read a model that `save` wrote.

    No code runs from the folder: it holds numbers, text and trees; files are checked by
    size and hash before they are parsed, and only asfusion's own classes are made, and
    those that you pass.

    Parameters
    ----------
    path : str or Path
        The folder.
    kind : type, optional
        The class that the model must be of, such as `EarlyFusionClassifier`; type checkers know
        the model by it.
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
        If the folder is not a saved model, was changed or cut, names another class, or holds a
        model that is not of `kind`.

    Examples
    --------
    >>> import tempfile, numpy as np, asfusion as af
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> model = af.EarlyFusionClassifier().fit(X, X[:, 0] > 0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = af.load(model.save(folder + "/model.asf"), af.EarlyFusionClassifier)
    >>> bool((again.predict(X) == model.predict(X)).all())
    True
    """
    if kind is not None and not isinstance(kind, type):
        msg = f"kind: expected None or a class, got {in_words(kind)}."
        raise ConfigurationError(msg)
    own = {}
    for one in trusted:
        if not isinstance(one, type):
            msg = f"trusted: expected classes, got an object of type {type(one).__name__}."
            raise ConfigurationError(msg)
        own[f"{one.__module__}:{one.__qualname__}"] = one

    def resolve(name: str) -> type:
        if isinstance(name, str) and name in own:
            return own[name]
        return _resolve(name)

    model = load_bundle(Path(path), resolve, max_bytes=max_bytes)
    if not (isinstance(model, Bundled) and (hasattr(model, "predict") or hasattr(model, "find"))):
        raise BundleError("load: expected a saved estimator or finder, got something else.")
    if kind is not None and not isinstance(model, kind):
        msg = (
            f"load: expected a saved {kind.__name__}, got a {type(model).__name__}. Pass that "
            "class, or none."
        )
        raise BundleError(msg)
    return model


def describe(path: str | Path) -> tuple[dict[str, Any], Any]:
    """Return the manifest and the state tree of a saved model, restoring nothing."""
    return describe_bundle(Path(path), max_bytes=_MAX_BYTES)


def _resolve(name: object) -> type:
    """Return the class of a name on the closed list; nothing is imported before that."""
    known = _saved_names()
    if isinstance(name, str) and name in known:
        module, _, kind = name.partition(":")
        found: Any = getattr(importlib.import_module(module), kind)
        if isinstance(found, type) and issubclass(found, Bundled | Described):
            return found
    hint = suggestion(name, sorted(known)) if isinstance(name, str) else ""
    msg = (
        "load: the model names a class that is not asfusion's own. If it is yours, pass it: "
        f"asfusion.load(path, trusted=[YourClass]).{hint}"
    )
    raise BundleError(msg)


def _saved_names() -> set[str]:
    """Return what the stubs offer by the name of a class; bases are in private modules."""
    return {
        f"{module}:{name}"
        for module, name in public_names()
        if name[0].isupper() and not module.rpartition(".")[2].startswith("_")
    }
