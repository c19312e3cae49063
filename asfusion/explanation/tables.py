"""What each cell of a table added to a prediction, with pictures of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import check_integer, quoted, suggestion
from asfusion._foreign import import_shap
from asfusion.exceptions import ConfigurationError, InputError, ShapeError
from asfusion.explanation.views.cells import as_numbers
from asfusion.explanation.views.table import TableView

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TableAttribution(TableView):
    """What each cell of N rows and F features added to a model's output.

    Each row of `values` sums, with its base value, to the output for that row.

    Parameters
    ----------
    values : array_like of shape (N, F)
        What each cell added, in the unit of the output.
    base_value : float or array_like of shape (N,)
        The output where no cell is known.
    data : array_like of shape (N, F)
        The cells as they stood in the table, in the units of `units`; a missing cell is
        None, NaN, NaT or pd.NA.
    feature_names : sequence of str
        F different names.
    output_name : str
        What was explained, for example ``"log-odds of AS"``.
    units : mapping of str to (str or None), optional
        Unit of each feature, ``"mg/L"`` for example; one that is absent or None has none.
    method : str
        How the values were found, for the record.
    error : array_like of shape (N, F), optional
        Standard errors of `values`, where coalitions were sampled.
    interactions : array_like of shape (N, F, F), optional
        Pairwise effects, whose rows sum to `values`.
    base_is : str
        What the base value is of, in words.

    Raises
    ------
    ShapeError
        If the arrays do not fit together.
    InputError
        If an attribution is not finite, or an error negative.
    ConfigurationError
        If a name is used twice, or `units` names an unknown feature.

    Examples
    --------
    >>> found = TableAttribution(
    ...     values=[[0.30, -0.10]],
    ...     base_value=0.25,
    ...     data=[[41.0, None]],
    ...     feature_names=["crp", "esr"],
    ...     output_name="probability of AS",
    ...     units={"crp": "mg/L", "esr": "mm/h"},
    ... )
    >>> found.outputs.round(2).tolist()
    [0.45]
    >>> print(found.to_frame().to_string(index=False))
     row feature value unit  attribution
       0     crp  41.0 mg/L          0.3
       0     esr  None mm/h         -0.1
    """

    values: Floats
    base_value: Floats
    data: NDArray[Any]
    feature_names: tuple[str, ...]
    output_name: str = "output"
    units: Mapping[str, str | None] = field(default_factory=dict)
    method: str = "shapley"
    error: Floats | None = None
    interactions: Floats | None = None
    base_is: str = "nothing of it known"

    def __post_init__(self) -> None:
        for name, value in self._checked().items():
            object.__setattr__(self, name, value)

    def _checked(self) -> dict[str, Any]:
        """Return the fields as they are to be kept: read-only copies that fit together."""
        names = tuple(str(name) for name in self.feature_names)
        values = _frozen(self.values, float)
        if values.ndim != 2 or values.shape[1] != len(names):
            msg = (
                f"values: expected shape (N, {len(names)}) for {len(names)} feature names, got "
                f"{values.shape}. Give one row for each patient and one column for each feature."
            )
            raise ShapeError(msg)
        _check_names(names, self.units)
        n_rows, n_features = values.shape
        base = np.asarray(self.base_value, dtype=float)
        checked: dict[str, Any] = {
            "values": values,
            "base_value": _frozen(np.full(n_rows, base) if base.ndim == 0 else base, float),
            "data": _cells(self.data),
            "error": None if self.error is None else _frozen(self.error, float),
            "interactions": None
            if self.interactions is None
            else _frozen(self.interactions, float),
        }
        shapes = {
            "base_value": (n_rows,),
            "data": values.shape,
            "error": values.shape,
            "interactions": (n_rows, n_features, n_features),
        }
        for name, array in checked.items():
            if array is not None:
                _check_shape(name, array, shapes.get(name, array.shape))
                _check_finite(name, array)
        if checked["error"] is not None and (checked["error"] < 0).any():
            msg = "error: expected standard errors of at least 0, got a negative one."
            raise InputError(msg)
        units = {name: self.units.get(name) or None for name in names}
        return {**checked, "feature_names": names, "units": units}

    def __repr__(self) -> str:
        n_rows, n_features = self.values.shape
        return (
            f"TableAttribution({n_rows} rows, {n_features} features, "
            f"output={self.output_name!r}, method={self.method!r})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one line for each cell.

        Returns
        -------
        pandas.DataFrame
            Columns ``row`` (position), ``feature``, ``value`` (the cell), ``unit``,
            ``attribution`` and, where there are standard errors, ``error``.

        Examples
        --------
        >>> import numpy as np
        >>> found = TableAttribution(
        ...     np.array([[0.3, -0.1]]), 0.25, np.array([[41.0, 12.0]]), ("crp", "esr")
        ... )
        >>> found.to_frame().attribution.tolist()
        [0.3, -0.1]
        """
        import pandas as pd

        n_rows, n_features = self.values.shape
        columns: dict[str, Any] = {
            "row": np.repeat(np.arange(n_rows), n_features),
            "feature": list(self.feature_names) * n_rows,
            "value": pd.Series(list(self.data.ravel()), dtype=object),
            "unit": [self.units[name] for name in self.feature_names] * n_rows,
            "attribution": self.values.ravel(),
        }
        if self.error is not None:
            columns["error"] = self.error.ravel()
        return pd.DataFrame(columns)

    def top_pairs(self, n: int = 10) -> pd.DataFrame:
        """Return the pairs of features that add most together.

        Parameters
        ----------
        n : int
            Most pairs to return.

        Returns
        -------
        pandas.DataFrame
            Columns ``feature``, ``other`` and ``effect``, the mean over rows of the size of
            what the pair adds beyond what each adds alone, in units of the output.

        Raises
        ------
        ConfigurationError
            If interactions were not computed.

        Examples
        --------
        >>> found = TableAttribution(
        ...     values=[[0.3, -0.1]],
        ...     base_value=0.25,
        ...     data=[[41.0, 12.0]],
        ...     feature_names=("crp", "esr"),
        ...     interactions=[[[0.2, 0.1], [0.1, -0.2]]],
        ... )
        >>> found.top_pairs().effect.tolist()
        [0.2]
        """
        import pandas as pd

        count = check_integer(n, "n", minimum=1)
        if self.interactions is None:
            msg = (
                "top_pairs: expected interactions, got an attribution without. They are known "
                "for up to 10 columns of a fusion estimator, and for trees with "
                "explain(..., interactions=True)."
            )
            raise ConfigurationError(msg)
        size = 2.0 * np.abs(self.interactions).mean(axis=0)  # the index stands in two cells
        one, two = np.triu_indices(len(self.feature_names), k=1)
        order = np.argsort(-size[one, two], kind="stable")[:count]
        names = np.asarray(self.feature_names, dtype=object)
        return pd.DataFrame(
            {
                "feature": names[one[order]],
                "other": names[two[order]],
                "effect": size[one, two][order],
            }
        )

    def to_shap(self) -> Any:
        """Return the same for the plots of the package shap.

        Returns
        -------
        shap.Explanation
            Its `data` holds numbers, with NaN for what is not one; its `display_data` holds
            the cells as they stood.

        Examples
        --------
        >>> import numpy as np
        >>> found = TableAttribution(
        ...     np.array([[0.3, -0.1]]), 0.25, np.array([[41.0, 12.0]]), ("crp", "esr")
        ... )
        >>> found.to_shap().shape
        (1, 2)
        """
        shap = import_shap()
        numbers = np.column_stack(
            [as_numbers(column)[0] for column in self.data.T] or [np.zeros((len(self), 0))]
        )
        return shap.Explanation(
            values=self.values.copy(),
            base_values=self.base_value.copy(),
            data=numbers,
            display_data=self.data.copy(),
            feature_names=list(self.feature_names),
            output_names=self.output_name,
            error_std=None if self.error is None else self.error.copy(),
        )


def _frozen(values: Any, kind: type) -> NDArray[Any]:
    """Return a read-only copy."""
    copy: NDArray[Any] = np.array(values, dtype=kind)
    copy.setflags(write=False)
    return copy


def _cells(data: Any) -> NDArray[Any]:
    """Return the cells as objects, whatever table held them."""
    table = data.to_numpy() if hasattr(data, "to_numpy") else data
    return _frozen(table, object)


def _check_names(names: Sequence[str], units: Mapping[str, str | None]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"feature_names: expected different names, got {quoted(twice)} more than once."
        raise ConfigurationError(msg)
    unknown = [name for name in units if name not in names]
    if unknown:
        hint = suggestion(unknown[0], names)
        msg = f"units: expected names of features, got {quoted(unknown)}.{hint}"
        raise ConfigurationError(msg)


def check_unit_names(units: Mapping[str, str], known: Iterable[str]) -> None:
    """Raise if a unit is given for a name that is not known."""
    names = sorted(known)
    unknown = [str(name) for name in units if name not in names]
    if unknown:
        hint = suggestion(unknown[0], names)
        msg = f"units: expected columns of the model, got {quoted(unknown)}.{hint}"
        raise ConfigurationError(msg)


def _check_shape(name: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        msg = (
            f"{name}: expected shape {expected} to fit `values`, got {array.shape}. "
            "Give the same rows and features in every array."
        )
        raise ShapeError(msg)


def _check_finite(name: str, array: NDArray[Any]) -> None:
    if array.dtype == object:  # the cells, which may be missing
        return
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        msg = (
            f"{name}: expected finite numbers, got {bad} of {array.size} that are not. "
            "Look for a model output that is NaN or infinite."
        )
        raise InputError(msg)
