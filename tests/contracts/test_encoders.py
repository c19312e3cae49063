"""Every encoder keeps the same promises. A new encoder is one more row in SHIPPED."""

import datetime
import functools
import tempfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import asfusion
from asfusion._random import torch_seed
from asfusion.corners import CornerEncoder
from asfusion.corners._network import ask
from asfusion.datasets._phantoms.dicom_files import write_series
from asfusion.encoders._base import Encoder
from asfusion.encoders.concepts import ConceptEncoder
from asfusion.encoders.genotypes import GenotypeEncoder
from asfusion.encoders.image import ImageEncoder
from asfusion.encoders.regions import RegionEncoder
from asfusion.encoders.slices import SliceEncoder
from asfusion.encoders.tabular import TabularEncoder
from asfusion.encoders.text import TextEncoder
from asfusion.encoders.visits import VisitEncoder
from asfusion.encoders.volume import VolumeEncoder
from asfusion.exceptions import ConfigurationError
from asfusion.extend._promises import check_export
from asfusion.extend.encoders import PROMISES, EncoderCase, network_of
from asfusion.fusion._resolve import head_class, head_names
from asfusion.nn.network import FusionNetwork
from asfusion.sites import SiteHarmoniser
from tests.contracts.own_encoders import OWN, FrozenAlleles
from tests.looking import BrightFinder
from tests.spines import graded_spines, load_scorer, save_scorer

LABS = ["crp", "sex", "seen"]
N_ROWS = 12
FOLDER = tempfile.TemporaryDirectory()
SCORER = f"{FOLDER.name}/scorer.asf"
SHIPPED = {
    "mlp": TabularEncoder(LABS, d_out=6, d_hidden=8),
    "tabnet": TabularEncoder(LABS, network="tabnet", d_out=6, d_hidden=8),
    "ft_transformer": TabularEncoder(LABS, network="ft_transformer", d_out=6, d_hidden=8),
    "tabm": TabularEncoder(LABS, network="tabm", d_out=6, d_hidden=8),
    "resnet": TabularEncoder(LABS, network="resnet", d_out=6, d_hidden=8),
    "piecewise": TabularEncoder(LABS, number_embedding="piecewise_linear", d_out=6, d_hidden=8),
    "periodic": TabularEncoder(LABS, number_embedding="periodic", d_out=6, d_hidden=8),
    "transformer": TextEncoder("note", d_out=6, max_tokens=16),
    "wordpiece": TextEncoder(
        "note", d_out=6, max_tokens=8, tokenizer="wordpiece", pooling="attention"
    ),
    "tfidf": TextEncoder("note", backbone="tfidf", d_out=6),
    "concepts": ConceptEncoder("note", contexts=["present", "negated"], d_out=6, d_hidden=8),
    "genotypes": GenotypeEncoder(hla_b27="b27", weights="published", d_out=6, d_hidden=8),
    "variants": GenotypeEncoder(
        ["rs30187", "rs11209026_G"],
        hla_b27="b27",
        annotation="published",
        network="attention",
        weights={"rs30187": 0.3},
        d_out=6,
        d_hidden=8,
    ),
    "image": ImageEncoder("xray", backbone="compact", size=32, d_out=6),
    "image regions": ImageEncoder("xray", backbone="compact", size=32, d_out=6, pool=False),
    "regions": RegionEncoder("xray", region=BrightFinder(), size=32, d_out=6),
    "volume": VolumeEncoder(["stir", "t1"], shape=(8, 32, 32), d_out=6),
    "volume regions": VolumeEncoder("stir", shape=(8, 32, 32), norm="group", pool=False, d_out=6),
    "gru": VisitEncoder("visits", d_out=6, d_hidden=8, n_layers=2, dropout=0.1),
    "lstm": VisitEncoder("visits", backbone="lstm", d_out=6, d_hidden=8, n_layers=2),
    "visit transformer": VisitEncoder("visits", backbone="transformer", d_out=6, d_hidden=8),
    "corners": CornerEncoder(SCORER, d_out=6, d_hidden=8),
    "slices": SliceEncoder(["stir", "t1"], size=32, d_out=6),
    "harmonised table": SiteHarmoniser(TabularEncoder(["crp", "b27"], d_out=6, d_hidden=8), "ward"),
    "harmonised network": SiteHarmoniser(FrozenAlleles("hla"), "ward", d_out=6, d_hidden=8),
}
ENCODERS = SHIPPED | OWN
every_encoder = pytest.mark.parametrize("described", ENCODERS.values(), ids=ENCODERS)
every_head = pytest.mark.parametrize("head", head_names())
WITH_STORE = {name: one for name, one in ENCODERS.items() if "store" in one.get_params()}


@pytest.fixture(scope="module", autouse=True)
def scorer_of_corners():
    """Save a scorer, whose network reads smaller squares, and each once: a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asfusion.corners.scorer._SIZE", 16)
        patch.setattr("asfusion.corners.scorer.ask", functools.partial(ask, n_views=1))
        patch.setattr("asfusion.corners.encoder.load", load_scorer)
        save_scorer(SCORER)
        yield
    FOLDER.cleanup()


def write_stack(folder, stack):
    write_series(
        folder, stack, spacing_mm=(4.0, 1.0, 1.0), sequence="STIR", patient_key="P1", site="A",
        scanner="MR 1", sex="male", age_years=34, date=datetime.date(2021, 3, 9),
    )  # fmt: skip


def draw_visits(rng):
    days = -np.sort(rng.choice(900, size=int(rng.integers(2, 6)), replace=False)).astype(float)
    return [{"day": day, "crp": rng.gamma(2, 4), "esr": float(rng.integers(50))} for day in days]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Twelve rows of everything; rows 3 and 7 lack every modality."""
    folder = tmp_path_factory.mktemp("xrays")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2, 4, N_ROWS),
            "sex": rng.choice(["f", "m"], N_ROWS),
            "seen": pd.date_range("2024-01-01", periods=N_ROWS),
            "rs30187": rng.integers(0, 3, N_ROWS).astype(float),
            "rs11209026_G": rng.integers(1, 3, N_ROWS).astype(float),
            "b27": rng.integers(0, 2, N_ROWS).astype(float),
            "note": [f"back pain, visit {i}, better with exercise" for i in range(N_ROWS)],
            "xray": [str(folder / f"{i}.png") for i in range(N_ROWS)],
            "stir": [str(folder / f"stir{i}") for i in range(N_ROWS)],
            "t1": [str(folder / f"t1_{i}") for i in range(N_ROWS)],
            "hla": rng.choice(["B27;B07", "B27;B44", "B07;B44", "B08;B35"], N_ROWS),
            "visits": [draw_visits(rng) for _ in range(N_ROWS)],
            "ward": np.repeat(["a", "b"], N_ROWS // 2),
            **graded_spines(N_ROWS)[0],
        }
    )
    for column in ("stir", "t1"):
        for path in X[column]:
            (folder / path).mkdir()
            write_stack(path, rng.integers(0, 900, (4, 40, 36), dtype=np.uint16))
    for path in X["xray"]:
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    X.loc[5, ["crp", "rs30187"]] = np.nan  # missing cells
    X.loc[[5, 8], "t1"] = None  # missing sequences
    X.at[5, "visits"][0]["crp"] = None
    X.loc[[3, 7]] = None  # missing modalities
    return X


def fitted(described, table):
    return clone(described).fit(table)


@every_encoder
@pytest.mark.parametrize("promise", PROMISES)
def test_it_keeps_its_promises(described, promise, table):
    others = table.assign(crp=1e30, sex="x", note="zzz " * 100, hla="B99")
    others["visits"] = [[{"day": -1.0, "crp": 1e30, "esr": None}]] * N_ROWS
    # What TabNet would make of its steps in the end is not asked for.
    PROMISES[promise](EncoderCase(described, table, others, unused=("final",)))


@every_encoder
def test_rows_that_lack_everything_are_absent(described, table):
    prepared = fitted(described, table).prepare(table)
    expected = ~np.isin(np.arange(N_ROWS), [3, 7])
    np.testing.assert_array_equal(prepared.present.numpy(), expected)
    for tensor in prepared.tensors.values():
        assert not tensor[~prepared.present].any(), "absent rows are zeros"
    assert network_of(fitted(described, table)).d_out == 6


@pytest.mark.parametrize("described", WITH_STORE.values(), ids=WITH_STORE)
def test_a_store_changes_no_bit(described, table, tmp_path):
    plain = fitted(described, table)
    expected = plain.prepare(table)
    for _ in range(2):  # decoded, then read from the store
        stored = clone(described).set_params(store=tmp_path / "store").fit(table)
        prepared = stored.prepare(table.iloc[::-1])
        assert prepared.tensors.keys() == expected.tensors.keys()
        for name, tensor in expected.tensors.items():
            assert prepared.tensors[name].dtype == tensor.dtype
            assert torch.equal(prepared.tensors[name].flip(0), tensor)
        np.testing.assert_array_equal(stored.transform(table), plain.transform(table))


@every_encoder
def test_a_missing_cell_is_not_a_missing_modality(described, table):
    assert fitted(described, table).prepare(table).present[5]


# To trace a large encoder takes seconds, and of each a head sees tokens: one, or a sequence. One
# head of either kind is traced with all kinds of encoders, the others with one that gives a
# token and one that gives a sequence.
WITH_ALL = ("concat", "attention")


@every_head
def test_encoders_and_head_are_exported_together(head, table):
    others = ("variants", "transformer", "image", "gru") if head in WITH_ALL else ("image regions",)
    chosen = ("mlp", *others)
    encoders = {name.replace(" ", "_"): fitted(ENCODERS[name], table) for name in chosen}
    modalities = {name: encoder.prepare(table) for name, encoder in encoders.items()}
    with torch_seed(1):
        networks = {name: encoder.build() for name, encoder in encoders.items()}
        fusion = head_class(head)(d_out=8).build(dict.fromkeys(networks, 6))
        network = FusionNetwork(networks, fusion, d_fused=8, n_outputs=8).eval()

    def first(n_rows):
        inputs = {name: {k: t[:n_rows] for k, t in p.tensors.items()}
                  for name, p in modalities.items()}  # fmt: skip
        return inputs, {name: p.present[:n_rows] for name, p in modalities.items()}

    check_export(network, first)


@every_encoder
def test_stands_in_a_pipeline(described, table):
    known = table.dropna(subset=["note"])
    pipeline = make_pipeline(clone(described), LogisticRegression())
    y = np.arange(len(known)) % 2
    assert pipeline.fit(known, y).predict(known).shape == y.shape


@pytest.mark.parametrize("described", SHIPPED.values(), ids=SHIPPED)
def test_unusable_width_is_named(described, table):
    with pytest.raises(ConfigurationError, match="d_out: expected an integer of at least 1"):
        clone(described).set_params(d_out=0).fit(table)


def test_every_public_encoder_is_in_the_contract():
    public = [getattr(asfusion, name) for name in asfusion.__all__]
    for room in (asfusion.corners, asfusion.sites):
        public += [getattr(room, name) for name in room.__all__]
    classes = {c for c in public if isinstance(c, type) and issubclass(c, Encoder)} - {Encoder}
    assert classes == {type(encoder) for encoder in SHIPPED.values()}


# -- what an encoder tells ---------------------------------------------------------------

KINDS = {
    ConceptEncoder: "concepts",
    GenotypeEncoder: "genotypes",
    ImageEncoder: "image",
    RegionEncoder: "regions",
    SliceEncoder: "volume",
    TabularEncoder: "table",
    TextEncoder: "note",
    VisitEncoder: "visits",
    VolumeEncoder: "volume",
}


@every_encoder
def test_it_tells_what_it_reads(described, table):
    assert described.kind == KINDS.get(type(described), "other")
    encoder = fitted(described, table)
    for column in encoder.columns_:
        assert repr(column) in clone(described).describe(list(table.columns))
    assert str(table["xray"][0]) not in encoder.describe()


@every_encoder
def test_it_says_how_many_rows_and_features_there_are(described, table):
    encoder = fitted(described, table)
    expected = len(encoder.get_feature_names_out())
    has = encoder.kind in ("table", "genotypes") or isinstance(encoder, CornerEncoder)
    has = has or described is SHIPPED["harmonised table"]
    assert encoder.n_features == (expected if has else 0)
    prepared = encoder.embed(table) if encoder.is_frozen else encoder.prepare(table)
    if {tensor.dtype for tensor in prepared.tensors.values()} == {torch.float64}:
        batch = 32 if described is OWN["own network"] else 128
    else:
        batch = 8 if "voxels" in prepared.tensors else 32
    assert encoder.batch_hint == batch


@every_encoder
def test_plain_features_are_what_transform_gives_where_nothing_learns(described, table):
    plain = clone(described).plain().fit(table)
    features = plain.plain_features(table)
    assert features.shape[1] <= 1000
    if not plain.needs_training:
        np.testing.assert_array_equal(features, plain.transform(table))


@every_encoder
def test_transform_is_the_same_by_way_of_a_device(described, table):
    encoder = fitted(described, table)
    np.testing.assert_array_equal(encoder._vectors(table, "cpu"), encoder.transform(table))
