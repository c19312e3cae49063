"""What is described by its arguments, and is no estimator: parameters in scikit-learn's manner."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Self

from asfusion._checks import quoted, suggestion
from asfusion.exceptions import ConfigurationError


class Described:
    """A class whose constructor stores each argument under its own name, and nothing else."""

    # Hyperparameters that may hold what is nobody's business, such as the films of patients.
    _unsaid: ClassVar[frozenset[str]] = frozenset()

    def __new__(cls, *_args: Any, **params: Any) -> Self:
        """Refuse a word that the constructor does not know, as `set_params` does."""
        known = inspect.signature(cls.__init__).parameters
        if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
            _check_known(cls, params, [name for name in known if name != "self"])
        return super().__new__(cls)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyperparameters, in scikit-learn's manner."""
        names = inspect.signature(type(self).__init__).parameters
        return {name: getattr(self, name) for name in names if name != "self"}

    def set_params(self, **params: Any) -> Self:
        """Set hyperparameters, in scikit-learn's manner.

        Raises
        ------
        ConfigurationError
            If one has no such name; then none is set.
        """
        _check_known(type(self), params, self.get_params())
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the constructor call, with what differs from the defaults."""
        signature = inspect.signature(type(self).__init__).parameters
        changed = [
            f"{name}={'...' if name in self._unsaid else repr(value)}"
            for name, value in self.get_params().items()
            if repr(value) != repr(signature[name].default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _check_known(kind: type, names: Iterable[str], known: Collection[str]) -> None:
    """Raise unless each name is that of a hyperparameter, naming the nearest."""
    for name in names:
        if name not in known:
            msg = (
                f"{kind.__name__}: no hyperparameter {name!r}; it has "
                f"{quoted(known, limit=20)}.{suggestion(name, known)}"
            )
            raise ConfigurationError(msg)
