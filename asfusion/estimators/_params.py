"""Parameters that are dicts of parts, nested as scikit-learn nests its own."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone

from asfusion._checks import in_words, quoted
from asfusion.exceptions import ConfigurationError

_PARTS = {
    "encoders": ("a dict of encoders", ", such as asfusion.infer_encoders(X)"),
    "members": (
        "a dict of fusion estimators",
        ", such as {'mine': asfusion.EarlyFusionClassifier()}",
    ),
    "training": ("training options", ", such as asfusion.TrainingOptions()"),
    "fusion": ("a fusion head", ", such as asfusion.fusion.Gated()"),
}


class PartsMixin(BaseEstimator):  # type: ignore[misc]
    """Let ``encoders={"labs": ...}`` answer to ``encoders__labs__d_out``.

    Scikit-learn nests parameters of estimators, not of dicts of estimators. This mixin
    adds the dicts, for reading, for setting (grid search) and for `clone`, which must
    not carry what a part has learned.
    """

    _part_fields: ClassVar[tuple[str, ...]] = ("encoders", "estimator")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, with those of parts under ``field__name__parameter``."""
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep:
            for field, parts in self._part_dicts().items():
                for name, part in parts.items():
                    params[f"{field}__{name}"] = part
                    if hasattr(part, "get_params") and not isinstance(part, type):
                        own = part.get_params(deep=True)
                        params |= {f"{field}__{name}__{k}": v for k, v in own.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also those of parts.

        Raises
        ------
        ConfigurationError
            If a part is named that is not there, or that has no parameters.
        """
        self._check_nested(params)
        fields = [f for f in self._part_fields if isinstance(self._part_of(f, params), dict)]
        plain = {k: v for k, v in params.items() if k.partition("__")[0] not in fields}
        nested = {k: v for k, v in params.items() if k not in plain}
        whole = {k: v for k, v in nested.items() if "__" not in k}
        super().set_params(**plain, **whole)
        for key, value in nested.items():
            if key not in whole:
                self._set_part(key, value)
        return self

    def _check_nested(self, params: dict[str, Any]) -> None:
        """Raise where a parameter is set of a name, such as ``"auto"``, or of None."""
        for key in params:
            field, nested, _ = key.partition("__")
            part = self._part_of(field, params)
            if not nested or isinstance(part, dict) or hasattr(part, "set_params"):
                continue
            wanted, example = _PARTS.get(field, ("an estimator", ""))
            got = repr(part) if part is None or isinstance(part, str) else type(part).__name__
            msg = f"{field}: expected {wanted} to set {key!r} in, got {got}. "
            raise ConfigurationError(f"{msg}Pass one{example}.")

    def _part_of(self, field: str, params: dict[str, Any]) -> Any:
        """Return what a field will be; what is none of ours is scikit-learn's to refuse."""
        return params.get(field, getattr(self, field, self))

    def _set_part(self, key: str, value: Any) -> None:
        field, _, rest = key.partition("__")
        name, _, parameter = rest.partition("__")
        parts = getattr(self, field)
        if name not in parts:
            msg = f"{field}: expected one of {quoted(parts)}, got {name!r} (in {key!r})."
            raise ConfigurationError(msg)
        if parameter:
            if not hasattr(parts[name], "set_params"):
                wanted = "an encoder" if field == "encoders" else "an estimator"
                got = in_words(parts[name])
                msg = f"{field}[{name!r}]: expected {wanted} to set {parameter!r} in, got {got}."
                raise ConfigurationError(f"{msg} Set {field}__{name} to one first.")
            parts[name].set_params(**{parameter: value})
        else:
            # A dict of one's own: the caller's may stand in other estimators, too.
            setattr(self, field, {**parts, name: value})

    def _part_dicts(self) -> dict[str, dict[str, Any]]:
        fields = {field: getattr(self, field, None) for field in self._part_fields}
        return {field: parts for field, parts in fields.items() if isinstance(parts, dict)}

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted copy, with unfitted copies of all parts."""
        copy = type(self)(**{k: _clone_value(v) for k, v in self.get_params(deep=False).items()})
        if hasattr(self, "_metadata_request"):
            copy._metadata_request = self._metadata_request
        return copy


def _clone_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clone_value(part) for name, part in value.items()}
    return clone(value, safe=False)
