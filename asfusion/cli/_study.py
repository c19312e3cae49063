"""The two files of a federated study: what all hospitals share, and what one of them keeps."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asfusion._checks import check_choice, quoted, suggestion
from asfusion._stubs import public_names
from asfusion._tables import read_table, split_columns
from asfusion.exceptions import ConfigurationError, InputError

if TYPE_CHECKING:
    from asfusion.federated.site import Site

_ESTIMATORS = ("JointFusionClassifier", "JointFusionRegressor")
_STUDY = ("rounds", "epochs", "min_sites", "timeout_s", "seed", "save", "secure", "strategy")
_NEEDED = ("study", "table", "target")
_SITE = (
    *_NEEDED, "group", "root", "texts", "holdout", "min_count", "personal", "seed", "ledger",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Study:
    """What all hospitals and the server mean alike.

    Parameters
    ----------
    model : JointFusionClassifier or JointFusionRegressor
        Unfitted.
    settings : dict of str to Any
        Of `server_app`, the path to save to among them.
    """

    model: Any
    settings: dict[str, Any]


@dataclass(frozen=True, eq=False)
class SiteFile:
    """What one hospital says of its own rows; it does not leave the hospital.

    Parameters
    ----------
    study : Study
        The shared part.
    table : Path
        The rows.
    columns : dict of str to Any
        How the table is read: target, group, root and texts.
    settings : dict of str to Any
        Of `Site`.
    ledger : Path
        Where it is written down what left.
    """

    study: Study
    table: Path
    columns: dict[str, Any]
    settings: dict[str, Any]
    ledger: Path

    def site(self) -> Site:
        """Return the hospital, with its rows read anew."""
        from asfusion.federated.site import Site

        named = self.columns
        table = read_table(self.table, named["texts"], named["root"])
        X, y, groups = split_columns(table, [named["target"]], named["group"], [])
        patients = None if groups is None else groups.to_numpy()
        return Site(self.study.model, X, y, groups=patients, **self.settings)


def read_study(file: Path) -> Study:
    """Return the study that a file describes.

    Raises
    ------
    ConfigurationError
        If the file names what does not exist.
    InputError
        If it is not there, or is no TOML.
    """
    state = _read(file, ("study", "model", "encoders"))
    settings = dict(_table(state, "study"))
    _check_names(settings, _STUDY, "[study]")
    settings["save"] = _beside(file, settings.get("save", "federated.asf"))
    if "strategy" in settings:
        from asfusion.federated.strategies import FedAvg

        settings["strategy"] = FedAvg(settings["strategy"]).start()
    return Study(_model(state), settings)


def read_site(file: Path) -> SiteFile:
    """Return what a hospital's own file says; errors are those of `read_study`."""
    state = _read(file, ("site", "units"))
    told = dict(_table(state, "site"))
    _check_names(told, _SITE, "[site]")
    if missing := [name for name in _NEEDED if name not in told]:
        raise ConfigurationError(f"{file.name}: expected {quoted(missing)} in [site], got none.")
    root = told.get("root")
    columns = {
        "target": told["target"], "group": told.get("group"), "texts": told.get("texts", ()),
        "root": None if root is None else _beside(file, root),
    }  # fmt: skip
    kept = [name for name in ("holdout", "min_count", "personal") if name in told]
    settings: dict[str, Any] = {name: told[name] for name in kept}
    settings |= {"units": dict(_table(state, "units")), "random_state": told.get("seed", 0)}
    study = read_study(_beside(file, told["study"]))
    ledger = _beside(file, told.get("ledger", f"{file.stem}-sent.jsonl"))
    return SiteFile(study, _beside(file, told["table"]), columns, settings, ledger)


def is_site(file: Path) -> bool:
    """Return whether a file is one hospital's own, and not the shared one."""
    return "site" in _read(file, ("study", "model", "encoders", "site", "units"))


# -- parts -----------------------------------------------------------------------------


def _model(state: Mapping[str, Any]) -> Any:
    told = dict(_table(state, "model"))
    name = check_choice(told.pop("estimator", _ESTIMATORS[0]), "estimator", _ESTIMATORS)
    encoders = {key: _encoder(key, one) for key, one in _table(state, "encoders").items()}
    if not encoders:
        raise ConfigurationError("Study: expected a modality, such as [encoders.labs], got none.")
    return _made(name, {"encoders": encoders, "verbose": 0} | told, "[model]")


def _encoder(key: str, told: Any) -> Any:
    known = sorted(name for _, name in public_names() if name.endswith("Encoder"))
    known.remove("Encoder")
    where = f"[encoders.{key}]"
    settings = dict(told) if isinstance(told, Mapping) else {}
    kind = str(settings.pop("kind", ""))
    if kind not in known:
        msg = f"{where}: expected a kind of {quoted(known, 20)}, got {kind!r}."
        raise ConfigurationError(f"{msg}{suggestion(kind, known)}")
    return _made(kind, settings, where)


def _made(name: str, settings: Mapping[str, Any], where: str) -> Any:
    """Return an object of a public class by the parameters that a file names."""
    (module,) = (where_it_is for where_it_is, one in public_names() if one == name)
    kind = getattr(importlib.import_module(module), name)
    _check_names(settings, kind._get_param_names(), where)
    return kind(**settings)


def _check_names(told: Collection[str], known: Collection[str], where: str) -> None:
    for name in told:
        if name not in known:
            msg = f"{where}: expected names of {quoted(known, 30)}, got {name!r}."
            raise ConfigurationError(f"{msg}{suggestion(name, known)}")


def _read(file: Path, known: Collection[str]) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(f"{file}: expected a TOML file, got none. Check the path.")
    try:
        state = tomllib.loads(file.read_text("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file.name}: expected TOML, got {error}.") from None
    _check_names(state, known, file.name)
    return state


def _table(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = state.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"Study: expected a table [{name}], got a value.")
    return found


def _beside(file: Path, path: Any) -> Path:
    """Return a path that starts at the folder of a file."""
    return file.absolute().parent / str(path)
