"""Which versions wrote a saved model, and between which of them a file means other numbers."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asfusion._version import __version__
from asfusion._warn import warn_user
from asfusion.exceptions import BundleError

# What reads the files of a model, or computes with what is in them.
PACKAGES = (
    "numpy",
    "safetensors",
    "scikit-learn",
    "skops",
    "tokenizers",
    "torch",
    "transformers",
    "xgboost",
)


@dataclass(frozen=True)
class Change:
    """A version of a package from which on it reads or writes files otherwise.

    Parameters
    ----------
    package : str
        One of `PACKAGES`.
    version : str
        The first version with the change.
    ending : {"ubj", "skops", "safetensors", "json"}
        The files that are concerned.
    hurt : {"older", "newer", "both"}
        Whether a reader before the change gets other numbers from a file after it, a reader
        after the change from a file before it, or both.
    what : str
        What happens, as in "xgboost 2.1.4 loses the base score of such models".
    refuse : bool
        Whether such a model is refused; else there is a warning.
    """

    package: str
    version: str
    ending: str
    hurt: Literal["older", "newer", "both"]
    what: str
    refuse: bool = True


CHANGES: tuple[Change, ...] = (
    Change("xgboost", "3.1", "ubj", "older", "before 3.1 the base score of such models is lost"),
    Change("xgboost", "3.2", "ubj", "newer", "from 3.2 on, some of these files end the process"),
    Change("scikit-learn", "1.9", "skops", "both", "many of its models changed in 1.9"),
)


@functools.cache
def installed() -> dict[str, str]:
    """Return the versions that are in use, by package."""
    found = {"asfusion": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def check_versions(manifest: Mapping[str, Any], endings: Collection[str]) -> None:
    """Refuse, or warn of, a model whose files mean other numbers to what is installed.

    Parameters
    ----------
    manifest : mapping
        Of the model; one without versions passes.
    endings : collection of str
        The kinds of files that it has.

    Raises
    ------
    BundleError
        If the model would predict other numbers.
    """
    written, here = versions_of(manifest), installed()
    for change in CHANGES:
        saved, own = written.get(change.package), here.get(change.package)
        if saved is None or own is None or change.ending not in endings:
            continue
        if not _is_hurt(change, saved, own):
            continue
        msg = (
            f"load: expected {change.package} {saved}, which saved this model, got {own}: "
            f"{change.what}. Install {change.package} {saved}, or save the model again with {own}."
        )
        if change.refuse:
            raise BundleError(msg)
        warn_user(msg)


def versions_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that wrote a model, as far as the manifest tells them."""
    given = manifest.get("versions")
    given = given if isinstance(given, dict) else {}
    known = ("asfusion", "python", *PACKAGES)
    return {name: given[name] for name in known if _is_version(given.get(name))}


def told_apart(manifest: Mapping[str, Any]) -> str:
    """Return in words which versions wrote a model that are not the ones in use."""
    here = installed()
    others = [
        f"{name} {saved} (here {here.get(name, 'not installed')})"
        for name, saved in versions_of(manifest).items()
        if here.get(name) != saved
    ]
    return ", ".join(others) if others else "the versions that are installed"


def _is_hurt(change: Change, saved: str, own: str) -> bool:
    at = _numbers(change.version)
    older = _numbers(own) < at <= _numbers(saved)
    newer = _numbers(saved) < at <= _numbers(own)
    return (older and change.hurt != "newer") or (newer and change.hurt != "older")


def _is_version(text: object) -> bool:
    return isinstance(text, str) and bool(re.fullmatch(r"\d[0-9A-Za-z.+-]{0,39}", text))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])
