"""Any text encoder of transformers, without network, foreign code or silent gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from asfusion.exceptions import ConfigurationError
from asfusion.extend._promises import check_export
from asfusion.nn._hub import find_pretrained
from asfusion.nn.network import EncoderNetwork
from asfusion.nn.pretrained_text import (
    PretrainedTextBackbone,
    build_text_model,
    load_text_model,
    read_text_config,
)

_SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
_DISTILBERT = {"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}
_ENDS = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3}
ARCHITECTURES: dict[str, tuple[dict[str, Any], str, int]] = {
    # name: configuration, where the last layer is, most tokens
    "bert": (_SMALL, "encoder.layer.1.", 512),
    "roberta": (_SMALL, "encoder.layer.1.", 510),
    "distilbert": (_DISTILBERT, "transformer.layer.1.", 512),
    "mpnet": (_SMALL, "encoder.layer.1.", 510),
    "modernbert": (_SMALL | _ENDS | {"sep_token_id": 3}, "layers.1.", 8192),
}


@pytest.fixture(params=sorted(ARCHITECTURES))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_text_model({"model_type": name, **ARCHITECTURES[name][0]}).eval()


def _batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([7, 2, 4]).unsqueeze(1)
    return {"ids": torch.where(mask, ids, 0), "mask": mask}


def test_mean_pooling_equals_each_note_read_alone(architecture: str) -> None:
    model, batch = _model(architecture), _batch()
    with torch.no_grad():
        pooled = PretrainedTextBackbone(model)(batch).values
        for row, length in enumerate((7, 2, 4)):
            ids = batch["ids"][row : row + 1, :length]
            by_hand = model(input_ids=ids).last_hidden_state.mean(dim=1)
            torch.testing.assert_close(pooled[row], by_hand, atol=1e-5, rtol=1e-4)


def test_it_exports_for_batches_of_any_size(architecture: str) -> None:
    batch = {key: value.repeat(3, 1) for key, value in _batch().items()}
    backbone = PretrainedTextBackbone(_model(architecture)).eval()
    check_export(backbone, lambda n: ({key: value[:n] for key, value in batch.items()},))


def test_last_block_is_the_last_layer(architecture: str) -> None:
    backbone = PretrainedTextBackbone(_model(architecture))
    network = EncoderNetwork(backbone, d_out=8, training_mode="last_block")
    learning = {name for name, p in network.backbone.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("model." + ARCHITECTURES[architecture][1]) for name in learning)


def test_longest_note_follows_from_the_positions(architecture: str) -> None:
    backbone = PretrainedTextBackbone(_model(architecture))
    longest = ARCHITECTURES[architecture][2]
    assert backbone.longest == longest
    if longest < 1000:
        ids = torch.full((1, longest), 5)
        assert backbone({"ids": ids, "mask": ids > 0}).values.shape == (1, 1, 16)


def test_every_weight_gets_a_gradient(architecture: str) -> None:
    backbone = PretrainedTextBackbone(_model(architecture))
    tokens = backbone(_batch())
    (tokens.values**2).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_rows_without_any_token_are_finite(architecture: str) -> None:
    backbone, batch = PretrainedTextBackbone(_model(architecture), pool=False), _batch()
    batch["mask"][1:] = False
    tokens = backbone(batch)
    tokens.clean_values().sum().backward()
    assert torch.isfinite(tokens.values).all()
    assert not tokens.mask[1:].any()
    grads = [p.grad for p in backbone.parameters() if p.grad is not None]
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_no_rows_give_no_tokens(architecture: str) -> None:
    batch = {key: value[:0] for key, value in _batch().items()}
    assert PretrainedTextBackbone(_model(architecture))(batch).values.shape == (0, 1, 16)


def test_one_token_per_word_piece() -> None:
    tokens = PretrainedTextBackbone(_model("bert"), pool=False)(_batch())
    assert tokens.values.shape == (3, 7, 16)
    assert tokens.mask.sum(dim=1).tolist() == [7, 2, 4]


def test_a_network_without_layers_is_its_own_last_block() -> None:
    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = type("Config", (), {"hidden_size": 4})()
            self.embedding = torch.nn.Embedding(9, 4)

    backbone = PretrainedTextBackbone(Plain())
    assert backbone.last_block() is backbone
    assert backbone.longest is None


def test_saved_model_is_read_again(tmp_path: Path, architecture: str) -> None:
    model = _model(architecture)
    model.half().save_pretrained(tmp_path)
    config = read_text_config(str(tmp_path))
    assert config == json.loads(json.dumps(config))
    assert str(tmp_path) not in json.dumps(config)
    loaded, rebuilt = load_text_model(str(tmp_path)), build_text_model(config)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    rebuilt.load_state_dict(loaded.state_dict(), strict=True)
    with torch.no_grad():
        expected = PretrainedTextBackbone(loaded.eval())(_batch()).values
        torch.testing.assert_close(
            PretrainedTextBackbone(rebuilt.eval())(_batch()).values, expected, atol=0, rtol=0
        )


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    build_text_model({"model_type": "bert", **_SMALL}).save_pretrained(tmp_path)
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    capfd.readouterr()
    load_text_model(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("source", ["no/such-model", "/no/such/folder", "a b!!c"])
def test_unknown_source_is_refused_in_our_words(source: str) -> None:
    for read in (read_text_config, load_text_model):
        with pytest.raises(
            ConfigurationError, match="got none of them. The names that need no files"
        ):
            read(source)


def test_download_that_fails_is_told_in_our_words() -> None:
    with pytest.raises(ConfigurationError, match=r"could not download config.json \(OSError\)"):
        read_text_config("no/such-model", download=True)


def test_the_network_is_asked_only_when_allowed() -> None:
    asked: list[bool] = []

    def read(*, local_files_only: bool) -> str:
        asked.append(local_files_only)
        if local_files_only:
            raise OSError
        return "found"

    with pytest.raises(ConfigurationError, match=r"pass download=True"):
        find_pretrained(read, "some/model", download=False, needs="config.json")
    assert asked == [True]
    assert find_pretrained(read, "some/model", download=True, needs="config.json") == "found"
    assert asked == [True, True, False]


def test_missing_packages_keep_their_name() -> None:
    def read(*, local_files_only: bool) -> str:
        raise ImportError("sentencepiece")

    with pytest.raises(ImportError, match="sentencepiece"):
        find_pretrained(read, "some/model", download=True, needs="config.json")


def test_folders_are_never_looked_up_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a folder with a readable config.json"):
        read_text_config(str(tmp_path), download=True)


def test_pickled_and_damaged_weights_are_refused(tmp_path: Path) -> None:
    model = build_text_model({"model_type": "bert", **_SMALL})
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    match = "expected a folder with a readable model.safetensors"
    with pytest.raises(ConfigurationError, match=match):
        load_text_model(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not tensors" * 9)
    with pytest.raises(ConfigurationError, match=match):
        load_text_model(str(tmp_path))


def test_code_that_a_model_brings_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit('code of the model was run')")
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(ConfigurationError, match="bring their own code"):
        read_text_config(str(tmp_path))


def test_weights_with_gaps_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build_text_model({"model_type": "bert", **_SMALL}).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match="lacks 1 of its tensors"):
        load_text_model(str(tmp_path))


@pytest.mark.parametrize("config", [{"model_type": "vit"}, {"model_type": "t5"}])
def test_models_that_do_not_encode_text_are_refused(tmp_path: Path, config: dict[str, str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="expected a text encoder such as BERT, got"):
        read_text_config(str(tmp_path))
