"""The encoders that somebody gave, checked, without those that are to be left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from asfusion._checks import check_modality_name, in_words, quoted
from asfusion.encoders._base import Encoder
from asfusion.exceptions import ConfigurationError

Encoders: TypeAlias = Literal["auto"] | Mapping[str, Encoder | Literal["drop"]]

_DROP = "drop"
_EXAMPLE = "For example {'labs': asfusion.TabularEncoder(['crp', 'esr'])}."


def read_encoders(given: object) -> dict[str, Encoder]:
    """Return encoders by modality; one that is ``"drop"`` is as if it were not there."""
    if not isinstance(given, Mapping):
        got = in_words(given)
        msg = f"encoders: expected 'auto' or a dict of name to encoder, got {got}. {_EXAMPLE}"
        raise ConfigurationError(msg)
    if not given:
        msg = f"encoders: expected 'auto' or a non-empty dict of name to encoder. {_EXAMPLE}"
        raise ConfigurationError(msg)
    for name, encoder in given.items():
        check_modality_name(name)
        if not isinstance(encoder, Encoder) and not is_dropped(encoder):
            msg = (
                f"encoders[{name!r}]: expected an encoder such as asfusion.TabularEncoder, or "
                f"{_DROP!r} to leave the modality out, got {in_words(encoder)}."
            )
            raise ConfigurationError(msg)
    kept = {str(n): e for n, e in given.items() if isinstance(e, Encoder)}
    if not kept:
        msg = (
            f"encoders: expected at least one encoder, got {_DROP!r} for each of "
            f"{quoted(given)}. Keep one of them."
        )
        raise ConfigurationError(msg)
    return kept


def is_dropped(encoder: object) -> bool:
    """Return whether a modality is to be left out."""
    return isinstance(encoder, str) and encoder == _DROP
