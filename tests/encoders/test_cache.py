"""Embeddings by content: the same bits from the cache, nothing kept beyond its bound."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from asfusion._frames import Frame
from asfusion._tokens import Prepared, Tokens
from asfusion.encoders import _base, _cache
from asfusion.encoders._base import Encoder
from asfusion.encoders._cache import (
    Embedding,
    EmbeddingCache,
    digest,
    file_digest,
    network_digest,
    stack_embeddings,
)
from asfusion.encoders._embedding import embed_prepared
from asfusion.nn.network import Backbone, EncoderNetwork, Inputs


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> EmbeddingCache:
    """Give each test an empty cache of its own."""
    fresh = EmbeddingCache()
    monkeypatch.setattr(_base, "EMBEDDINGS", fresh)
    return fresh


class Words(Backbone):
    """One token per letter, and a count of the rows that passed."""

    def __init__(self) -> None:
        super().__init__()
        self.d_out = 3
        self.linear = nn.Linear(1, 3)
        self.n_rows = 0
        self.shapes: list[int] = []

    def forward(self, inputs: Inputs) -> Tokens:
        self.n_rows += len(inputs["ids"])
        self.shapes.append(len(inputs["ids"]))
        longest = int(inputs["mask"].sum(dim=1).max())
        ids, mask = inputs["ids"][:, :longest], inputs["mask"][:, :longest]
        return Tokens(self.linear(ids.unsqueeze(-1).float()), mask)


class WordEncoder(Encoder):
    """Names its cells, as a frozen encoder of texts does."""

    def __init__(self, column: str = "word", frozen: bool = True, setting: int = 0) -> None:
        self.column = column
        self.frozen = frozen
        self.setting = setting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> WordEncoder:
        self.columns_ = (self.column,)
        self.n_prepared_ = 0
        return self

    def prepare(self, X: Any) -> Prepared:
        words = self._read(X).strings(self.column)
        self.n_prepared_ += sum(word is not None for word in words)
        ids = torch.zeros(len(words), 12, dtype=torch.int64)
        for row, word in enumerate(words):
            for place, letter in enumerate(word or ""):
                ids[row, place] = ord(letter)
        present = torch.tensor([word is not None for word in words], dtype=torch.bool)
        return Prepared({"ids": ids, "mask": ids > 0}, present)

    def build(self, *, pretrained: bool = True) -> EncoderNetwork:
        return EncoderNetwork(Words(), d_out=2, training_mode="frozen")

    @property
    def is_frozen(self) -> bool:
        return self.frozen

    def _cell_keys(self, frame: Frame) -> list[str | None]:
        return [word and digest(word) for word in frame.strings(self.column)]

    def _embedding_settings(self) -> object:
        return self.setting


def table(*words: str | None) -> pd.DataFrame:
    return pd.DataFrame({"word": list(words)}, dtype=object)


def backbone(encoder: WordEncoder) -> Words:
    found = encoder._network().backbone
    assert isinstance(found, Words)
    return found


# -- the encoder's side ----------------------------------------------------------------


def test_cached_and_fresh_are_the_same_bits(cache: EmbeddingCache) -> None:
    X = table("sacroiliitis", None, "no", "uveitis", "no")
    encoder = WordEncoder().fit(X)
    fresh, cached = encoder.embed(X), encoder.embed(X)
    assert len(cache) == 3
    for key in ("values", "mask"):
        assert torch.equal(fresh.tensors[key], cached.tensors[key])
    assert fresh.present.tolist() == cached.present.tolist() == [True, False, True, True, True]
    assert fresh.tensors["values"].shape == (5, 12, 3)
    assert fresh.tensors["values"].dtype == torch.float32
    assert torch.equal(fresh.tensors["values"][2], fresh.tensors["values"][4])
    assert fresh.tensors["mask"].sum(dim=1).tolist() == [12, 0, 2, 7, 2]


def test_without_keys_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    X = table("sacroiliitis", None, "no", "uveitis", "no")
    encoder = WordEncoder().fit(X)
    keyed = encoder.embed(X)
    monkeypatch.setattr(WordEncoder, "_cell_keys", lambda self, frame: None)
    plain = encoder.embed(X)
    assert torch.equal(keyed.tensors["mask"], plain.tensors["mask"])
    assert torch.equal(keyed.tokens().clean_values(), plain.tokens().clean_values())


def test_each_content_passes_once() -> None:
    encoder = WordEncoder().fit(table("a"))
    encoder.embed(table("a", "b", "a", "b", None, "a"))
    passed = backbone(encoder).n_rows
    encoder.embed(table("b", "a"))
    assert backbone(encoder).n_rows == passed
    assert encoder.n_prepared_ == 5
    encoder.embed(table("b", "c"))
    assert encoder.n_prepared_ == 6


def test_another_object_with_equal_weights_shares(cache: EmbeddingCache) -> None:
    first, second = (WordEncoder().fit(table("a")) for _ in range(2))
    first.embed(table("a", "b"))
    second.embed(table("a", "b"))
    assert backbone(second).n_rows == 0


def test_other_weights_settings_or_classes_do_not_share(cache: EmbeddingCache) -> None:
    X = table("a")
    encoder = WordEncoder().fit(X)
    before = encoder.embed(X).tensors["values"]
    with torch.no_grad():
        backbone(encoder).linear.weight += 1.0
    assert not torch.equal(encoder.embed(X).tensors["values"], before)
    encoder.set_params(setting=1)
    encoder.embed(X)

    class Other(WordEncoder):
        pass

    Other(setting=1).fit(X).embed(X)
    assert len(cache) == 4


def test_what_learns_is_not_cached(cache: EmbeddingCache) -> None:
    encoder = WordEncoder(frozen=False).fit(table("a"))
    encoder.embed(table("a"))
    encoder.embed(table("a"))
    assert encoder.n_prepared_ == 2
    assert len(cache) == 0


def test_row_without_a_name_is_prepared_every_time(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WordEncoder, "_cell_keys", lambda self, frame: [None] * len(frame))
    encoder = WordEncoder().fit(table("a"))
    assert encoder.embed(table("a", "a")).present.all()
    encoder.embed(table("a", "a"))
    assert encoder.n_prepared_ == 4
    assert len(cache) == 0


def test_more_rows_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_base.Encoder, "_chunk_rows", 4)
    words = [f"word {i}" for i in range(11)]
    encoder = WordEncoder().fit(table("a"))
    chunked = encoder.embed(table(*words))
    monkeypatch.setattr(_base, "EMBEDDINGS", EmbeddingCache())
    monkeypatch.setattr(_base.Encoder, "_chunk_rows", 100)
    assert torch.equal(encoder.embed(table(*words)).tensors["values"], chunked.tensors["values"])


def test_positions_reach_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def spy(self: WordEncoder, frame: Frame, rows: NDArray[np.int64]) -> Prepared:
        seen.append(rows.tolist())
        return self.prepare(frame.take(rows))

    monkeypatch.setattr(WordEncoder, "_prepare_rows", spy)
    encoder = WordEncoder().fit(table("a"))
    encoder.embed(table("a", "b"))
    encoder.embed(table("b", "c", "a", "d"))
    assert seen == [[0, 1], [1, 3]]


def test_no_rows_and_no_content() -> None:
    encoder = WordEncoder().fit(table("a"))
    assert encoder.embed(table(None, None)).tensors["values"].shape == (2, 1, 3)
    assert len(encoder.embed(table())) == 0
    assert np.isnan(encoder.transform(table(None))).all()


# -- passes ----------------------------------------------------------------------------


def test_every_pass_has_one_size() -> None:
    """A row's last bits must not depend on how many rows it comes with."""
    network = EncoderNetwork(Words(), d_out=2)
    ids = torch.arange(1, 12).reshape(-1, 1).expand(11, 2)
    prepared = Prepared({"ids": ids, "mask": ids > 0}, torch.arange(11) != 4)
    embedded = embed_prepared(network, prepared, 4)
    assert network.backbone.shapes == [4, 4, 4]
    assert torch.equal(
        embedded.tensors["values"][10],
        embed_prepared(network, prepared.take(torch.tensor([10]))).tensors["values"][0],
    )
    assert not embedded.tensors["mask"][4].any()
    assert network.training


def test_rows_of_equal_length_pass_together() -> None:
    network = EncoderNetwork(Words(), d_out=2)
    lengths = torch.tensor([9, 1, 8, 2, 9, 1])
    mask = torch.arange(9) < lengths[:, None]
    prepared = Prepared({"ids": mask.long(), "mask": mask}, torch.ones(6, dtype=torch.bool))
    widths: list[int] = []
    network.backbone.register_forward_hook(lambda *a: widths.append(a[2].values.shape[1]))
    assert (
        embed_prepared(network, prepared, 2).tensors["mask"].sum(dim=1).tolist() == lengths.tolist()
    )
    assert widths == [1, 8, 9]


# -- the cache itself ------------------------------------------------------------------


def entry(length: int = 1, width: int = 4) -> Embedding:
    return Embedding(torch.ones(length, width), torch.ones(length, dtype=torch.bool))


def test_longest_unused_goes_first() -> None:
    size = entry().n_bytes
    cache = EmbeddingCache(max_bytes=3 * size)
    for key in "abc":
        cache.put(key, entry())
    assert set(cache.find(["a", None, "x"])) == {"a"}
    cache.put("d", entry())
    assert set(cache.find("abcd")) == {"a", "c", "d"}
    assert cache.n_bytes == 3 * size
    cache.clear()
    assert (len(cache), cache.n_bytes) == (0, 0)


def test_too_large_or_nameless_is_not_kept() -> None:
    cache = EmbeddingCache(max_bytes=10)
    cache.put("a", entry())
    cache.put(None, Embedding(torch.ones(1, 1), torch.ones(1, dtype=torch.bool)))
    assert len(cache) == 0
    assert EmbeddingCache(0).n_bytes == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 6)), max_size=40))
def test_bound_holds_and_bytes_are_counted(puts: list[tuple[str, int]]) -> None:
    cache = EmbeddingCache(max_bytes=150)
    for key, length in puts:
        cache.put(key, entry(length))
        assert cache.n_bytes <= 150
    assert cache.n_bytes == sum(e.n_bytes for e in cache.find("abcdefgh").values())


def test_threads() -> None:
    cache = EmbeddingCache(max_bytes=40 * entry().n_bytes)
    errors: list[Exception] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for key in rng.integers(0, 100, 400).astype(str):
                cache.put(key, entry())
                cache.find([key])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert cache.n_bytes == len(cache) * entry().n_bytes <= cache.max_bytes


def test_embedding_keeps_no_batch_alive_and_no_padding() -> None:
    values = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    row = Embedding.of_row(values, torch.tensor([True, False, True, False]))
    assert row.values.shape == (3, 3)
    assert row.values.dtype == torch.float32
    assert row.mask.tolist() == [True, False, True]
    assert row.values.untyped_storage().nbytes() == 3 * 3 * 4
    assert len(Embedding.of_row(values, torch.zeros(4, dtype=torch.bool)).mask) == 0


def test_stacked_rows_are_padded() -> None:
    tokens = stack_embeddings([entry(1), None, entry(3)], 4)
    assert tokens.values.shape == (3, 3, 4)
    assert tokens.mask.sum(dim=1).tolist() == [1, 0, 3]
    assert tokens.values[1].abs().sum() == 0


# -- names -----------------------------------------------------------------------------


def test_digest_of_values() -> None:
    assert digest("a", 1) == digest("a", 1)
    assert len({digest("a", 1), digest("a1"), digest("a", "1"), digest(("a", 1))}) == 4
    assert digest("\ud800")  # half a character, as broken exports have them


def test_file_digest_follows_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x" * 100)
    two.write_bytes(b"x" * 100)
    assert file_digest(one) == file_digest(str(two))
    first = file_digest(one)
    one.write_bytes(b"y" * 100)
    os.utime(one, ns=(1, 1))
    assert file_digest(one) != first
    link = tmp_path / "link"
    link.symlink_to(two)
    assert file_digest(link) == first


def test_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    first = file_digest(path)
    monkeypatch.setattr(_cache.hashlib, "file_digest", None)
    assert file_digest(path) == first


def test_what_cannot_be_read_has_no_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", "a\x00b"):
        assert file_digest(path) is None


def test_memory_of_names_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "_MEMOISED_FILES", 3)
    for i in range(6):
        (tmp_path / str(i)).write_text(str(i))
        file_digest(tmp_path / str(i))
    assert len(_cache._files) <= 3


def test_network_digest_follows_every_number() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = [network_digest(network)]
    assert network_digest(network) == names[0]
    with torch.no_grad():
        network[0].bias[1] += 1e-6
    names.append(network_digest(network))
    network(torch.randn(4, 2))  # running statistics are numbers, too
    names.append(network_digest(network))
    names.append(network_digest(network.double()))
    assert len(set(names)) == 4
    again = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).double()
    again.load_state_dict(network.state_dict())
    assert network_digest(again) == names[-1]
    assert network_digest(network.bfloat16()) != names[-1]


def test_embeddings_pass_to_another_process_as_few_arrays():
    one, other = EmbeddingCache(), EmbeddingCache()
    for length in (1, 3):
        values = torch.arange(4.0 * length).reshape(length, 4)
        one.put(f"image {length}", Embedding(values, torch.ones(length, dtype=torch.bool)))
    one.put("another", Embedding(torch.ones(2, 5), torch.tensor([True, False])))
    keys = ["image 1", "image 3", "unknown"]
    with one.noted() as noted:
        one.find(keys)
        one.put("new", Embedding(torch.ones(0, 4), torch.ones(0, dtype=torch.bool)))
    assert noted == {"image 1", "image 3", "new"}
    packed = one.packed(noted)
    for array in (packed.values, packed.masks):
        array.flags.writeable = False  # as where it is mapped
    other.adopt(packed)
    assert len(other) == 3
    for key, embedding in one.find(noted).items():
        torch.testing.assert_close(other.find(noted)[key], embedding, rtol=0, atol=0)
    other.adopt(one.packed(["unknown"]))
    assert len(other) == 3
