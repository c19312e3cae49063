"""How a sentence encoder makes one vector of its word pieces: the layout of sentence-transformers.

``modules.json`` lists what follows the transformer: a pooling, and scaling to length one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asfusion.exceptions import ConfigurationError
from asfusion.nn._hub import named, read_json
from asfusion.nn.text import Pooling

_FOLDER: Final = "1_Pooling"
_PREFIX: Final = "pooling_mode_"
# What the pooling is called in the file, as flags or as a word, and what here.
_POOLINGS: Final[dict[str, Pooling]] = {
    "mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls",
    "lasttoken": "last",
}  # fmt: skip


class Sentence(NamedTuple):
    """How word pieces become a vector.

    Parameters
    ----------
    pooling : {"mean", "cls", "last"}
        Which of them.
    unit_length : bool
        Whether the vector is scaled to length one.
    longest : int, optional
        Most word pieces that it was trained on.
    """

    pooling: Pooling = "mean"
    unit_length: bool = False
    longest: int | None = None


def read_sentence(source: str, *, download: bool) -> Sentence | None:
    """Return how a sentence encoder pools; None if `source` is a text encoder like any other.

    Raises
    ------
    ConfigurationError
        If it pools in another way than is known here.
    """
    modules = read_json(source, "modules.json", download=download)
    if not isinstance(modules, list) or not modules:
        return None
    steps = [module for module in modules if isinstance(module, dict)]
    kinds = [str(step.get("type")).rpartition(".")[2] for step in steps]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _unknown(source, f"the steps {', '.join(kinds)}")
    if steps[0].get("path") or steps[1].get("path") != _FOLDER:
        raise _unknown(source, "them in other folders")
    pooled = read_json(source, f"{_FOLDER}/config.json", download=download)
    limits = read_json(source, "sentence_bert_config.json", download=download)
    longest = limits.get("max_seq_length") if isinstance(limits, dict) else None
    return Sentence(
        _pooling_of(pooled if isinstance(pooled, dict) else {}, source),
        unit_length="Normalize" in kinds,
        longest=longest if isinstance(longest, int) and longest > 0 else None,
    )


def _pooling_of(config: Mapping[str, Any], source: str) -> Pooling:
    flags = [key.removeprefix(_PREFIX) for key, on in config.items() if on is True]
    asked = [flag for flag in flags if flag != "include_prompt"]
    if isinstance(config.get("pooling_mode"), str):
        asked = [config["pooling_mode"]]
    if len(asked) != 1 or asked[0] not in _POOLINGS:
        raise _unknown(source, "the pooling " + (" with ".join(asked) or "of an unreadable file"))
    return _POOLINGS[asked[0]]


def _unknown(source: str, got: str) -> ConfigurationError:
    msg = (
        f"{named(source)}: expected a sentence encoder of the steps Transformer, Pooling (mean, "
        f"cls or lasttoken) and at most Normalize, got {got}. Name one, such as pooling='mean', "
        "to read its word pieces alone."
    )
    return ConfigurationError(msg)
