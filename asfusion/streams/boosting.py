"""XGBoost by its external memory: bins of features lie on disk, and come in page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import ConfigurationError
from asfusion.streams.matrix import Matrix
from asfusion.streams.spool import Spool

Floats = NDArray[np.float64]
_KINDS = ("XGBClassifier", "XGBRegressor")


def can_boost(model: Any) -> bool:
    """Return whether `boost` fits the model."""
    return type(model).__module__ == "xgboost.sklearn" and type(model).__name__ in _KINDS


def check_boosting(model: Any) -> None:
    """Raise where a model has parameters that external memory does not go with."""
    wanted = {
        "booster": (None, "gbtree", "dart"),
        "tree_method": (None, "auto", "hist"),
        "early_stopping_rounds": (None,),
        "callbacks": (None,),
    }
    for name, choices in wanted.items():
        if getattr(model, name, None) not in choices:
            some = " or ".join(repr(choice) for choice in choices)
            msg = (
                f"estimator, {name}: expected {some} for rows that are read in pieces, got "
                "another value. Set it so, or pass X.collect()."
            )
            raise ConfigurationError(msg)


def boost(model: Any, features: Matrix, y: NDArray[Any], weight: Floats, spool: Spool) -> Any:
    """Fit one of XGBoost's scikit-learn estimators (`y` counts classes from 0), and return it."""
    import xgboost as xgb

    plain = (weight == weight[0]).all()

    class Blocks(xgb.DataIter):  # type: ignore[misc]
        """The features, block by block, as often as XGBoost asks for them."""

        def __init__(self) -> None:
            self._left: Iterator[tuple[slice, NDArray[Any]]] = iter(())
            super().__init__(cache_prefix=str(spool.file("pages")))

        def reset(self) -> None:
            """Start again."""
            self._left = features.blocks()

        def next(self, input_data: Callable[..., Any]) -> bool:
            """Hand over the next block, if there is one."""
            for place, block in self._left:
                own = {} if plain else {"weight": weight[place]}
                input_data(data=np.array(block, dtype=np.float32), label=y[place], **own)
                return True
            return False

    given = model.get_params(deep=False)
    params = _params(model, y)
    blocks = Blocks()
    data = xgb.ExtMemQuantileDMatrix(
        blocks, missing=model.missing, nthread=model.n_jobs, max_bin=model.max_bin
    )
    with xgb.config_context(verbosity=model.verbosity):
        booster = xgb.train(params, data, model.get_num_boosting_rounds())
    model.load_model(bytearray(booster.save_raw("ubj")))
    # XGBoost writes the booster's own settings over the parameters that were given.
    return model.set_params(**given | {"objective": model.objective})


def _params(model: Any, y: NDArray[Any]) -> dict[str, Any]:
    """Return what XGBoost calls the parameters of its scikit-learn estimator."""
    params: dict[str, Any] = model.get_xgb_params()
    highest = int(y.max()) if type(model).__name__ == "XGBClassifier" else 0
    if highest > 1:
        if params.get("objective") != "multi:softmax":
            params["objective"] = "multi:softprob"
        params["num_class"] = highest + 1
    return params
