"""Scikit-learn and XGBoost parts: the same predictions, and nothing foreign in or out."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from asfusion.bundle.folder import write_bundle
from asfusion.bundle.objects import load_bundle, save_bundle
from asfusion.bundle.sklearn_parts import dump_skops, load_skops
from asfusion.bundle.xgboost_parts import load_xgboost
from asfusion.exceptions import BundleError

MOST = 1 << 30
X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]
NUMBERS = (X[:, 0] + X[:, 1] > 0).astype(int)
PARTS: dict[str, tuple[Any, Any]] = {
    "forest": (RandomForestClassifier(5, random_state=0), Y),
    "forest of numbers": (RandomForestRegressor(5, random_state=0), X[:, 0]),
    "extra trees": (ExtraTreesClassifier(5, random_state=0), Y),
    "extra trees of numbers": (ExtraTreesRegressor(5, random_state=0), X[:, 0]),
    "AdaBoost": (AdaBoostClassifier(n_estimators=3, random_state=0), Y),
    "AdaBoost of numbers": (AdaBoostRegressor(n_estimators=3, random_state=0), X[:, 0]),
    "boosting": (GradientBoostingClassifier(n_estimators=3, random_state=0), Y),
    "histograms": (HistGradientBoostingClassifier(max_iter=3, random_state=0), Y),
    "histograms of numbers": (HistGradientBoostingRegressor(max_iter=3, random_state=0), X[:, 0]),
    "with a generator": (
        RandomForestClassifier(2, random_state=np.random.RandomState(0)),
        Y,
    ),
    "logistic": (LogisticRegression(), Y),
    "ridge": (Ridge(), X[:, :2]),
    "SVC": (SVC(random_state=0), Y),
    "neighbours": (KNeighborsClassifier(), Y),
    "MLP": (MLPClassifier((4,), max_iter=300, tol=1e-2, random_state=0), Y),
    "Bayes": (GaussianNB(), Y),
    "tree": (DecisionTreeClassifier(random_state=0), Y),
    "pipeline": (make_pipeline(StandardScaler(), PCA(2), LogisticRegression()), Y),
    "pipeline with XGBoost": (make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3)), Y),
    "calibrated": (CalibratedClassifierCV(LogisticRegression(), cv=2), Y),
    "stacking": (
        StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], cv=2),
        Y,
    ),
    "voting": (VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())]), Y),
    "bagging": (BaggingClassifier(LogisticRegression(), 3, random_state=0), Y),
    "search": (GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), Y),
    "many numbers": (MultiOutputRegressor(XGBRegressor(n_estimators=3)), X[:, :2]),
    "XGBoost": (XGBClassifier(n_estimators=3), NUMBERS),
    "XGBoost of numbers": (XGBRegressor(n_estimators=3), X[:, 0]),
    "XGBoost forest": (XGBRFClassifier(n_estimators=3), NUMBERS),
}
PARTS["pipeline with XGBoost"] = (PARTS["pipeline with XGBoost"][0], NUMBERS)


class OwnClassifier(ClassifierMixin, BaseEstimator):
    """What a user may write."""

    def fit(self, X: Any, y: Any) -> OwnClassifier:
        self.classes_ = np.unique(y)
        self.rule_ = lambda x: x
        return self


def no_class(name: str) -> type:
    raise BundleError("load: no class is allowed here.")


def round_trip(part: Any, folder: Path) -> Any:
    save_bundle(part, folder / "x.asf")
    return load_bundle(folder / "x.asf", no_class, max_bytes=MOST)


def quietly_fitted(part: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return part.fit(X, y)


@pytest.mark.parametrize("name", PARTS)
def test_part_predicts_the_same(name: str, tmp_path: Path) -> None:
    part, y = PARTS[name]
    fitted = quietly_fitted(part, y)
    again = round_trip(fitted, tmp_path)
    assert type(again) is type(fitted)
    methods = [m for m in ("predict", "predict_proba", "decision_function") if hasattr(fitted, m)]
    for method in methods:
        np.testing.assert_array_equal(getattr(again, method)(X), getattr(fitted, method)(X))


def test_transformers_transform_the_same(tmp_path: Path) -> None:
    svd = TruncatedSVD(2, random_state=0).fit(X)
    np.testing.assert_array_equal(round_trip(svd, tmp_path).transform(X), svd.transform(X))
    notes = ["morning stiffness", "no stiffness", "uveitis, left"]
    words = TfidfVectorizer().fit(notes)
    again = round_trip(words, tmp_path)
    np.testing.assert_array_equal(
        again.transform(notes).toarray(), words.transform(notes).toarray()
    )


def test_unfitted_parts_keep_their_parameters(tmp_path: Path) -> None:
    for part in (RandomForestClassifier(7), XGBClassifier(max_depth=2), make_pipeline(PCA(2))):
        assert str(round_trip(part, tmp_path)) == str(part)


def test_sparse_matrix_cannot_be_saved(tmp_path: Path) -> None:
    fitted = KNeighborsClassifier(1).fit(sparse.csr_matrix(np.abs(X) > 1.0, dtype=float), Y)
    with pytest.raises(BundleError, match="it holds 'scipy.sparse"):
        save_bundle(fitted, tmp_path / "x.asf")


def double(x: Any) -> Any:
    return 2 * x


@pytest.mark.parametrize(
    ("part", "y", "complaint"),
    [
        (FunctionTransformer(lambda x: x), Y, "FunctionTransformer cannot be saved"),
        (FunctionTransformer(double), Y, "FunctionTransformer cannot be saved without pickle"),
        (make_pipeline(FunctionTransformer(double)), Y, "FunctionTransformer cannot be saved"),
        (OwnClassifier(), Y, "OwnClassifier cannot be saved without pickle"),
        (VotingClassifier([("own", OwnClassifier())]), Y, "VotingClassifier cannot be saved"),
        (
            CalibratedClassifierCV(XGBClassifier(n_estimators=2), cv=2),
            NUMBERS,
            "CalibratedClassifierCV cannot be saved without pickle",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_saved_fails_at_save(
    part: Any, y: Any, complaint: str, tmp_path: Path
) -> None:
    fitted = quietly_fitted(part, y)
    with pytest.raises(BundleError, match=complaint):
        save_bundle(fitted, tmp_path / "x.asf")
    assert list(tmp_path.iterdir()) == []


# -- hostile archives --------------------------------------------------------------------

GOOD = dump_skops(StandardScaler().fit(X))


def entries(raw: bytes = GOOD) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(
    contents: dict[str, bytes] | list[tuple[str, bytes]], how: int = zipfile.ZIP_STORED
) -> bytes:
    out = io.BytesIO()
    pairs = contents.items() if isinstance(contents, dict) else contents
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # that a name comes twice
        for name, content in pairs:
            archive.writestr(name, content)
    return out.getvalue()


def renamed(module: str, name: str, **fields: Any) -> bytes:
    """Return the good archive with its root naming something else."""
    contents = entries()
    schema = json.loads(contents["schema.json"])
    schema |= {"__module__": module, "__class__": name} | fields
    return pack(contents | {"schema.json": json.dumps(schema).encode()})


def hostile_archives() -> dict[str, Callable[[], bytes]]:
    schema = entries()["schema.json"]
    zeros = bytes(20 << 20)
    return {
        "nothing": lambda: b"",
        "not a zip": lambda: b"x" * 100,
        "os.system": lambda: renamed("os", "system"),
        "posix.system": lambda: renamed("posix", "system", __loader__="FunctionNode"),
        "eval": lambda: renamed("builtins", "eval", __loader__="FunctionNode"),
        "exec as a type": lambda: renamed("builtins", "exec", __loader__="TypeNode"),
        "methodcaller": lambda: renamed(
            "operator", "methodcaller", __loader__="OperatorFuncNode", attrs=5
        ),
        "own class": lambda: renamed(__name__, "OwnClassifier"),
        "reduce": lambda: renamed("os", "system", __loader__="ReduceNode", __reduce__={"args": 5}),
        "method": lambda: renamed("os", "system", __loader__="MethodNode", content={"obj": 1}),
        "partial": lambda: renamed("functools", "partial", __loader__="PartialNode"),
        "unknown loader": lambda: renamed("a", "b", __loader__="EvilNode"),
        "no loader": lambda: pack({"schema.json": b"{}"}),
        "no schema": lambda: pack({"1.npy": b""}),
        "schema of text": lambda: pack({"schema.json": b"5"}),
        "schema not JSON": lambda: pack({"schema.json": b"{"}),
        "deep schema": lambda: pack({"schema.json": b"[" * 200_000}),
        "compressed": lambda: pack(entries(), zipfile.ZIP_DEFLATED),
        "bomb": lambda: pack(entries() | {"9.bin": zeros}, zipfile.ZIP_DEFLATED),
        "sparse matrix": lambda: pack(entries() | {"9.npz": b""}),
        "twice": lambda: pack([*entries().items(), ("schema.json", schema)]),
        "path": lambda: pack(entries() | {"../9.npy": b""}),
        "absolute path": lambda: pack(entries() | {"/9.npy": b""}),
        "pickle": lambda: pack(entries() | {"9.pkl": b""}),
        "missing file": lambda: pack({"schema.json": schema}),
        "objects": lambda: pack({k: objects(k, v) for k, v in entries().items()}),
        "far too large": lambda: liar(GOOD, 5 << 30),
    }


def liar(raw: bytes, size: int) -> bytes:
    """Return a zip file whose directory says that its first entry inflates to `size`."""
    at = raw.index(b"PK\x01\x02")
    return raw[: at + 24] + min(size, 0xFFFFFFFE).to_bytes(4, "little") + raw[at + 28 :]


def objects(name: str, content: bytes) -> bytes:
    """Return an array of pickled objects for an array of numbers."""
    if not name.endswith(".npy"):
        return content
    out = io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize("case", hostile_archives())
def test_hostile_archive_is_refused(case: str, tmp_path: Path) -> None:
    raw = hostile_archives()[case]()
    state = json.dumps({"$": "sklearn", "name": "sklearna.skops"}).encode()
    write_bundle(tmp_path / "x.asf", {"state.json": state, "sklearna.skops": raw}, {})
    with pytest.raises(BundleError, match="load: "):
        load_bundle(tmp_path / "x.asf", no_class, max_bytes=MOST)


def test_foreign_type_is_named() -> None:
    with pytest.raises(BundleError, match=r"holds types that no saved model has: .*os\.system"):
        load_skops(renamed("os", "system", __loader__="FunctionNode"))


def test_good_archive_of_these_tests_is_good() -> None:
    np.testing.assert_array_equal(
        load_skops(pack(entries())).transform(X), StandardScaler().fit_transform(X)
    )


def test_class_that_xgboost_does_not_have() -> None:
    with pytest.raises(BundleError, match="an XGBoost class that asfusion does not know"):
        load_xgboost("XGBModel", {}, None)


def test_pipeline_with_a_cache_folder_is_refused(tmp_path: Path) -> None:
    """Joblib's cache is made of pickles: a foreign model must not point to one."""
    cached = Pipeline([("scale", StandardScaler())], memory=str(tmp_path))
    for part in (cached, VotingClassifier([("cached", cached)])):
        with pytest.raises(BundleError, match="save: a pipeline with memory= names"):
            save_bundle(part, tmp_path / "x.asf")


def test_foreign_pipeline_with_a_cache_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asfusion.bundle.objects as bundle
    import asfusion.bundle.sklearn_parts as parts

    for number, cached in enumerate(
        [
            Pipeline([("scale", StandardScaler())]),
            VotingClassifier([("cached", Pipeline([("scale", StandardScaler())], memory="a"))]),
        ]
    ):
        with monkeypatch.context() as patch:
            patch.setattr(parts, "check_part", lambda _: None)
            save_bundle(cached, tmp_path / f"{number}.asf")
    (state,) = (tmp_path / "0.asf").glob("state-*.json")
    text = state.read_text().replace('["memory", null]', '["memory", "cache"]')
    blobs, _ = bundle.read_bundle(tmp_path / "0.asf", max_bytes=MOST)
    write_bundle(tmp_path / "0.asf", blobs | {"state.json": text.encode()}, {})
    for number in range(2):
        with pytest.raises(BundleError, match="load: a pipeline with memory= names"):
            load_bundle(tmp_path / f"{number}.asf", no_class, max_bytes=MOST)


def test_word_memory_is_no_cache(tmp_path: Path) -> None:
    words = TfidfVectorizer().fit(["loss of memory"])
    assert round_trip(words, tmp_path).vocabulary_ == words.vocabulary_
