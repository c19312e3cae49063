"""Models of `transformers`: looked for on this machine first, quietly, without their code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from asfusion._offline import ASKING, without_network
from asfusion.exceptions import AsfusionError, ConfigurationError

T = TypeVar("T")

_NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide the progress bars and reports that `transformers` prints while it loads."""
    from transformers.utils import logging

    with ASKING:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()


def find_pretrained(
    load: Callable[..., T], source: str, *, download: bool, needs: str, hint: str = ""
) -> T:
    """Return what `load` finds on this machine, or on the hub if `download`.

    Parameters
    ----------
    load : callable
        Reads a part of the model; takes ``local_files_only``.
    source : str
        Folder, or name on the Hugging Face hub, for messages.
    download : bool
        Whether the network may be used for a model that is not here yet.
    needs : str
        The file that is read, for messages.
    hint : str
        What to add when nothing has that name.

    Returns
    -------
    object
        What `load` returns.

    Raises
    ------
    ConfigurationError
        If the model is not there, or cannot be read without running its own code.
    """
    is_folder = Path(source).is_dir()
    with quiet_transformers():
        try:
            # Without local_files_only, a name that nobody has is asked for over the
            # network again and again, for most of a minute.
            with without_network():
                return load(local_files_only=True)
        except (AsfusionError, ImportError):
            raise
        except Exception:  # foreign files fail in as many ways as there are parsers
            if is_folder or not download:
                msg = _not_found(source, needs, hint, is_folder=is_folder)
                raise ConfigurationError(msg) from None
        try:
            return load(local_files_only=False)
        except Exception as error:
            msg = (
                f"{named(source)}: could not download {needs} ({type(error).__name__}). Check the "
                "name, the network, and whether the model has to be asked for at its page; or pass "
                f"a local folder.{hint}"
            )
            raise ConfigurationError(msg) from None


def named(source: str) -> str:
    """Return a backbone as a message may show it: a name on the hub, and no path."""
    return f"backbone={source!r}" if _NAME.fullmatch(source) else "backbone, a folder"


def _not_found(source: str, needs: str, hint: str, *, is_folder: bool) -> str:
    if is_folder:
        return (
            f"{named(source)}: expected a folder with a readable {needs} of an architecture "
            "that transformers knows, got none. Save the model there with save_pretrained (other "
            "formats than safetensors, and models that bring their own code, are not loaded)."
        )
    return (
        f"{named(source)}: expected a known name, a local folder, or a model in the local "
        f"Hugging Face cache, got none of them.{hint} Check the name, or pass download=True."
    )


def read_json(source: str, name: str, *, download: bool = False) -> Any:
    """Return a small JSON file of a model; None where there is none, or none that can be read.

    Raises
    ------
    ConfigurationError
        If `download`, and the hub cannot be asked.
    """
    path = find_file(source, name, download=download)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None


def find_file(source: str, name: str, *, download: bool = False) -> str | None:
    """Return where a file of a model lies on this machine, fetched if `download`; None if nowhere.

    Raises
    ------
    ConfigurationError
        If `download`, and the hub cannot be asked.
    """
    from transformers.utils import cached_file

    def load(*, local_files_only: bool) -> str | None:
        path: str | None = cached_file(
            source,
            name,
            local_files_only=local_files_only,
            _raise_exceptions_for_missing_entries=False,
        )
        if path is None and local_files_only and download and not _is_known_to_lack(source, name):
            raise FileNotFoundError  # not here yet: the hub is asked whether it has one
        return path

    if not download:
        try:
            with quiet_transformers(), without_network():
                return load(local_files_only=True)
        except Exception:  # no such model at all, which others tell
            return None
    return find_pretrained(load, source, download=download, needs=name)


def _is_known_to_lack(source: str, name: str) -> bool:
    """Return whether a folder has no such file, or the hub was asked before and had none."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    return Path(source).is_dir() or try_to_load_from_cache(source, name) is _CACHED_NO_EXIST
