"""`import asfusion` is cheap: what is heavy is imported where it is used.

If a test here fails, a module near the bottom (`_version`, `exceptions`, a package's
``__init__``) gained an import that belongs into a function, or an ``__init__.py`` stopped
being lazy. ``python -X importtime -c "import asfusion"`` shows which. How long the import
takes is measured by ``benchmarks/import_time.py``: a clock is no test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import asfusion as af

HEAVY = {
    "captum", "efficientnet_lite_pytorch", "matplotlib", "narwhals", "numpy", "pandas", "PIL",
    "polars", "pydicom", "pytorch_tabnet", "safetensors", "scipy", "shap", "skops", "sklearn",
    "tokenizers", "torch", "tqdm", "transformers", "xgboost",
}  # fmt: skip


def modules_after(statement: str, **environment: str) -> set[str]:
    """Return the modules that a fresh interpreter has only because of `statement`."""
    code = (
        f"import json, sys; before = set(sys.modules)\n{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def top_level(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize(
    "statement",
    [
        "import asfusion",
        "import asfusion; dir(asfusion)",
        "import asfusion; asfusion.__version__",
        "import asfusion; asfusion.exceptions.InputError",
        "import asfusion; asfusion.fusion; asfusion.datasets",
    ],
)
def test_nothing_heavy_is_imported(statement: str) -> None:
    assert not top_level(modules_after(statement)) & HEAVY


def test_import_adds_few_modules() -> None:
    modules = modules_after("import asfusion")
    assert {name for name in modules if name.startswith("asfusion")} == {"asfusion"}
    # The rest is lazy_loader and the standard library that it reads stubs with.
    assert len(modules) < 60, sorted(modules)


def test_command_line_starts_without_torch() -> None:
    statement = (
        "import contextlib\n"
        "from asfusion.cli.commands import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])"
    )
    assert not top_level(modules_after(statement)) & {"torch", "pandas", "sklearn", "transformers"}


def test_first_use_imports_what_it_needs() -> None:
    assert "sklearn" in modules_after("import asfusion; asfusion.TabularEncoder")
    assert "torch" in modules_after("import asfusion; asfusion.JointFusionClassifier")


def test_every_name_imports_eagerly() -> None:
    """Laziness must not hide an import error until a user meets it."""
    modules = modules_after("import asfusion", EAGER_IMPORT="1")
    assert {"torch", "sklearn", "asfusion.fusion.gated", "asfusion.persistence"} <= modules


def test_unknown_name_is_an_attribute_error() -> None:
    import asfusion

    with pytest.raises(AttributeError, match="JointFusionClasifier"):
        asfusion.JointFusionClasifier  # noqa: B018


TABLES = """
import numpy as np, pandas as pd, tempfile, asfusion as af
rng = np.random.default_rng(0)
X, y = pd.DataFrame(rng.normal(size=(60, 4)), columns=list("abcd")), np.arange(60) % 2
parts = {"one": af.TabularEncoder(["a", "b"]), "two": af.TabularEncoder(["c", "d"])}
with tempfile.TemporaryDirectory() as folder:
    for family in (af.EarlyFusionClassifier, af.LateFusionClassifier):
        model = family(parts, verbose=0).fit(X, y)
        af.load(model.save(folder + "/m.asf")).predict_proba(X)
    af.AutoFusionClassifier(parts, ["early linear", "late mean"], cv=2, verbose=0).fit(X, y)
    af.evaluate(model, X, y, n_bootstrap=100)
"""


def test_tables_are_fused_saved_loaded_and_judged_without_torch() -> None:
    assert not top_level(modules_after(TABLES)) & {"torch", "transformers", "pytest", "xgboost"}


LOADED = """
import pandas as pd, asfusion as af
row = pd.DataFrame({{"a": [0.5], "b": [None], "c": [1.0], "d": ["x"]}})
for name in {names}:
    af.load({folder!r} + "/" + name).predict_proba(row)
"""
# What was learned from, and what reads notes, genomes and times of events, is not for a prediction.
UNUSED = {
    "asfusion.encoders.infer", "asfusion.genomics", "asfusion.notes", "asfusion.survival.cox",
    "polars", "skops", "sklearn.ensemble", "torch", "xgboost",
}  # fmt: skip


def test_a_saved_table_model_is_loaded_with_what_it_needs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc")).assign(d=["x", "y"] * 20)
    parts = {"one": af.TabularEncoder(["a", "b"]), "two": af.TabularEncoder(["c", "d"])}
    for family in (af.EarlyFusionClassifier, af.LateFusionClassifier):
        model = family(parts, verbose=0).fit(X, np.arange(40) % 2)
        model.save(tmp_path / family.__name__)
    names = [path.name for path in tmp_path.iterdir()]
    modules = modules_after(LOADED.format(names=names, folder=str(tmp_path)))
    assert "asfusion.estimators.late" in modules
    assert not modules & UNUSED


NETWORK = """
import numpy as np, asfusion as af
X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
af.JointFusionClassifier({"t": af.TabularEncoder()}, max_epochs=1, verbose=0).fit(X, y)
"""


def test_networks_learn_without_a_compiler() -> None:
    modules = modules_after(NETWORK)
    assert not {"torch._dynamo", "sympy"} & modules
