"""The packages of foundation models of tables, their weights read from safetensors alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from asfusion.exceptions import ConfigurationError, MissingDependencyError

Task = Literal["Classifier", "Regressor"]  # how the packages end the names of their classes


class Settings(NamedTuple):
    """What an engine is told.

    Parameters
    ----------
    weights : Path
        A safetensors file.
    n_estimators : int
        Views of the table whose answers are averaged.
    seed : int
        For the views.
    device : str
        Where it computes.
    """

    weights: Path
    n_estimators: int
    seed: int
    device: str


def make_engine(name: str, task: Task, settings: Settings) -> Any:
    """Return an unfitted estimator of the package called `name`.

    Raises
    ------
    ConfigurationError
        If its weights cannot be read.
    MissingDependencyError
        If the package is not installed.
    """
    return ENGINES[name](task, settings)


def _imported(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        msg = f"name={package!r} needs a package that is not installed: pip install {package}"
        raise MissingDependencyError(msg) from None


def _tabicl(task: Task, settings: Settings) -> Any:
    """Return TabICL, given its network instead of a checkpoint to unpickle."""
    base: Any = getattr(_imported("tabicl"), f"TabICL{task}")
    if not hasattr(base, "_load_model"):
        msg = (
            "name: expected a version of tabicl that loads its network by a method of its own "
            "(2.2 does), got another: it could only be driven by a checkpoint that is unpickled."
        )
        raise ConfigurationError(msg)

    class FromSafetensors(base):  # type: ignore[misc]
        def _load_model(self) -> None:
            self.model_path_ = settings.weights
            self.model_, self.model_config_ = _tabicl_network(settings.weights)

    return FromSafetensors(
        n_estimators=settings.n_estimators,
        random_state=settings.seed,
        device=None if settings.device == "auto" else settings.device,
        model_path=settings.weights,
        allow_auto_download=False,
    )


def _tabicl_network(weights: Path) -> tuple[Any, dict[str, Any]]:
    """Return the network, and its configuration, which the header of the file holds as JSON."""
    from safetensors import safe_open

    network: Any = importlib.import_module("tabicl._model.tabicl").TabICL
    try:
        with safe_open(str(weights), framework="pt") as file:
            config = json.loads((file.metadata() or {})["config"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        made = network(**config)
        made.load_state_dict(tensors, strict=True)
    except Exception as error:  # whatever is wrong with it, the answer is one error
        raise _unreadable("TabICL", error) from None
    return made.eval(), config


def _tabpfn(task: Task, settings: Settings) -> Any:
    """Return TabPFN, which reads safetensors by itself."""
    return getattr(_imported("tabpfn"), f"TabPFN{task}")(
        n_estimators=settings.n_estimators,
        random_state=settings.seed,
        device=settings.device,
        model_path=str(settings.weights),
    )


def _unreadable(name: str, error: Exception) -> ConfigurationError:
    msg = (
        f"weights: expected the weights of {name} with their configuration in the header of the "
        f"file, got others ({type(error).__name__}). The page 'Medical weights' of the "
        "documentation says how to convert a checkpoint."
    )
    return ConfigurationError(msg)


ENGINES: Final[dict[str, Callable[[Task, Settings], Any]]] = {"tabicl": _tabicl, "tabpfn": _tabpfn}
