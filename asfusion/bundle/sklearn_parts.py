"""Scikit-learn parts of a saved model, without pickle.

They go through skops with a closed list of types. What skops writes carries memory addresses
and the time; both are replaced, so that equal models give equal bytes; so is what lies
between the fields of a tree's nodes.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from asfusion._checks import quoted
from asfusion.bundle._budget import check_schema_size, read_schema
from asfusion.bundle._sklearn_checks import check_part
from asfusion.bundle._skops import skops_io
from asfusion.bundle._skops_reader import is_plain, read_part
from asfusion.bundle._skops_schema import FOREIGN, check_schema
from asfusion.bundle._unlike import NamesCache, Unlike, require
from asfusion.exceptions import BundleError

# Types outside skops' own list that a part may hold: plain containers of numbers of
# scikit-learn's own models. None of them runs anything when it is restored.
TRUSTED = frozenset(
    {
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)

# The cache of a pipeline is a folder of pickles, which a later fit would read.
NO_CACHE = "{what}: a pipeline with memory= names a folder of pickles. Set memory=None."
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file knows
_MOST_ENTRIES = 20_000
_MOST_DIRECTORY = 80 * _MOST_ENTRIES  # bytes
_MOST_SCHEMA = 64 << 20  # bytes of JSON, which become objects of several times their size


def dump_skops(part: Any) -> bytes:
    """Return a scikit-learn estimator as a skops archive that `load_skops` accepts.

    Raises
    ------
    BundleError
        If it holds a type outside the closed list.
    """
    skops = skops_io()

    try:
        raw = skops.dumps(part)
    except Exception as error:  # skops raises whatever an object's own methods raise
        raise BundleError(_cannot(part, [type(error).__name__])) from error
    foreign = sorted(set(skops.get_untrusted_types(data=raw)) - TRUSTED)
    if foreign:
        raise BundleError(_cannot(part, foreign))
    packed = _without_addresses(raw)
    try:
        _restored(packed)
    except NamesCache as error:
        raise BundleError(NO_CACHE.format(what="save")) from error
    except Unlike as error:
        msg = (
            f"save: {type(part).__name__} could not be loaded again ({error}). Fit it on finite "
            "data, with usual parameters."
        )
        raise BundleError(msg) from error
    return packed


def load_skops(raw: bytes) -> Any:
    """Return the estimator of a skops archive that holds nothing but known types.

    What compiled code would follow without looking is checked, too: before it is made where
    making it copies memory, and after.

    Raises
    ------
    BundleError
        If it is not as `dump_skops` wrote it.
    """
    try:
        return _restored(raw)
    except NamesCache as error:
        raise BundleError(NO_CACHE.format(what="load")) from error
    except Unlike as error:
        msg = (
            f"load: a scikit-learn part is not as save wrote it: it holds {error}. Restore the "
            "folder from its source."
        )
        raise BundleError(msg) from error


def _restored(raw: bytes) -> Any:
    _check_archive(raw)
    part = _made_plainly(raw)
    if part is None:
        part = _made_by_skops(raw)
    check_part(part)
    return part


def _made_plainly(raw: bytes) -> Any:
    """Check the schema of an archive; return its part, or None if skops has to make it."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        # Bounded before it is walked: shared nodes make some walks exponential. Nothing of it is
        # kept while skops makes its own of the same text.
        schema = read_schema(_schema_text(raw))
        nodes, arrays = check_schema(raw, archive, schema)
    return read_part(schema, raw, arrays) if is_plain(schema, nodes, TRUSTED) else None


def _made_by_skops(raw: bytes) -> Any:
    skops = skops_io()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.loads(raw, trusted=sorted(TRUSTED))
    except UntrustedTypesFoundException:
        foreign = sorted(set(skops.get_untrusted_types(data=raw)) - TRUSTED)
        raise Unlike(FOREIGN.format(names=quoted(foreign))) from None


def _schema(raw: bytes) -> Any:
    return json.loads(_schema_text(raw))


def _schema_text(raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return archive.read("schema.json")


def _cannot(part: Any, why: list[str]) -> str:
    return (
        f"save: {type(part).__name__} cannot be saved without pickle (it holds {quoted(why)}). "
        "Use a scikit-learn or XGBoost estimator without functions or classes of your own."
    )


def _check_archive(raw: bytes) -> None:
    """Refuse an archive that would inflate, before anything is read."""
    # The directory is read as far as its length says, an object for every few bytes of it.
    ending = raw[-22:]
    require(
        ending[:4] == b"PK\5\6" and int.from_bytes(ending[12:16], "little") <= _MOST_DIRECTORY,
        "another archive",
    )
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    plain = all(
        name == "schema.json" or (name.count("/") == 0 and name.rpartition(".")[2] in _ENDINGS)
        for name in names
    )
    sizes = [entry.file_size for entry in entries if entry.filename == "schema.json"]
    require(
        plain
        and len(set(names)) == len(names)
        and len(entries) <= _MOST_ENTRIES
        and sum(entry.file_size for entry in entries) <= len(raw)
        and sum(sizes) <= _MOST_SCHEMA
        and all(entry.compress_type == zipfile.ZIP_STORED for entry in entries),
        "another archive",
    )


_ENDINGS = ("npy", "bin", "json")


def _without_addresses(raw: bytes) -> bytes:
    """Return the archive with running numbers for addresses, a fixed time, no compression."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        contents = {name: _without_padding(archive.read(name)) for name in archive.namelist()}
    schema = _schema(raw)
    numbers: dict[int, int] = {}
    renamed: dict[str, str] = {}

    def renumber(node: Any) -> Any:
        if isinstance(node, list):
            return [renumber(item) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        file = node.get("file")
        if isinstance(file, str) and file in contents:
            ending = file.rpartition(".")[2]
            node["file"] = renamed.setdefault(file, f"{len(renamed) + 1}.{ending}")
        return {key: renumber(value) for key, value in node.items()}

    contents["schema.json"] = json.dumps(renumber(schema)).encode()
    check_schema_size(contents["schema.json"], "save")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        named = {renamed.get(name, name): content for name, content in contents.items()}
        for name in sorted(named):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), named[name])
    return out.getvalue()


def _without_padding(content: bytes) -> bytes:
    """Return an array of records with zeros between its fields, anything else as it is.

    Padding holds whatever the memory held before.
    """
    if not content.startswith(b"\x93NUMPY"):
        return content
    try:
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except ValueError:
        return content
    if array.dtype.names is None:
        return content
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    out = io.BytesIO()
    np.lib.format.write_array(out, clean, allow_pickle=False)
    return out.getvalue()
