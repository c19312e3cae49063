"""In a notebook every picture of an explanation is shown once; warnings point to the user."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import get_backend, pyplot
from matplotlib.figure import Figure

import asfusion as af
import asfusion.explanation
from asfusion.exceptions import AsfusionWarning
from asfusion.explanation.images import ImageAttribution
from asfusion.explanation.pixels import attribute_image
from asfusion.explanation.volumes import VolumeAttribution


@pytest.fixture
def notebook() -> Iterator[None]:
    """Let pyplot draw as it does in a notebook: what it still holds when a cell ends."""
    pytest.importorskip("matplotlib_inline")
    before = get_backend()
    pyplot.close("all")
    pyplot.switch_backend("module://matplotlib_inline.backend_inline")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


def explained() -> Any:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(40, 2)), columns=["crp", "bmi"])
    parts = {name: af.TabularEncoder(name) for name in X}
    model = af.EarlyFusionClassifier(parts, verbose=0, random_state=0)
    y = (X["crp"] > X["bmi"]).to_numpy().astype(int)
    return af.explain(model.fit(X, y), X[:3], background=X, verbose=0)


def index_explained() -> Any:
    X = pd.DataFrame({"crp": np.linspace(0.0, 10.0, 40), "bmi": np.tile([20.0, 30.0], 20)})
    model = af.BasdaiRegressor("linear", interval_folds=0, random_state=0)
    return af.explain(model.fit(X, X["crp"].to_numpy()), X[:2])


def volume() -> ImageAttribution:
    values = np.random.default_rng(0).normal(size=(4, 8, 8))
    return ImageAttribution(values, np.zeros((4, 8, 8)), "occlusion")


FIGURES: dict[str, Any] = {
    "ExplanationView.plot_patient": lambda: explained().plot_patient(1),
    "IndexExplanation.plot_patient": lambda: index_explained().plot_patient(1),
    "ImageView.montage": lambda: volume().montage(4),
    "VolumeAttribution.montage": lambda: VolumeAttribution({"stir": volume()}).montage(4),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_shown_once(name: str, notebook: None) -> None:
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)  # the notebook shows it as the value of the cell
    assert pyplot.get_fignums() == []  # and pyplot has nothing left to show
    figure.canvas.draw()
    figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("name", FIGURES)
def test_a_script_shows_figures_by_pyplot(name: str) -> None:
    pyplot.close("all")
    figure = FIGURES[name]()
    assert [pyplot.figure(number) for number in pyplot.get_fignums()] == [figure]
    pyplot.close("all")


def test_axes_are_shown_by_pyplot_alone(notebook: None) -> None:
    e = explained()
    for draw in (e.plot, e["crp"].waterfall, e["crp"].beeswarm, e["crp"].bar, volume().plot):
        pyplot.close("all")
        assert not isinstance(draw(), Figure) and len(pyplot.get_fignums()) == 1


def test_no_other_method_returns_a_figure() -> None:
    found = set()
    for module in pkgutil.walk_packages(asfusion.explanation.__path__, "asfusion.explanation."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            for name, method in vars(kind).items():
                returns = getattr(method, "__annotations__", {}).get("return")
                if returns == "Figure" and not name.startswith("_"):
                    found.add(f"{kind.__name__}.{name}")
    assert found == set(FIGURES) - {"IndexExplanation.plot_patient"}  # it inherits the method


# -- warnings --------------------------------------------------------------------------


def told(call: Any) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [warning for warning in caught if issubclass(warning.category, AsfusionWarning)]


def test_a_cancelled_map_is_told_on_the_line_that_asked() -> None:
    layer = torch.nn.Conv2d(1, 2, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    image = torch.linspace(0, 1, 64).reshape(1, 8, 8)

    def against_the_change() -> None:
        attribute_image(
            lambda images: layer(images).sum(dim=(1, 2, 3)), image, method="grad_cam",
            layer=layer, baseline="black", expected_difference=-1.0,
        )  # fmt: skip

    [warning] = told(against_the_change)
    assert warning.filename == __file__ and "grad_cam" in str(warning.message)


def test_a_row_without_background_is_told_on_the_line_that_asked() -> None:
    e = explained()
    alone = af.explain(e.details.game.model, e.details.frame.take(np.array([0])).to_native())
    for ask in (lambda: alone["crp"], lambda: alone["bmi"]):
        [warning] = told(ask)
        assert warning.filename == __file__ and "background" in str(warning.message)


def test_what_shap_reports_is_told_on_the_line_that_asked(monkeypatch: Any) -> None:
    import shap

    model = af.BasdaiRegressor("forest", interval_folds=0, random_state=0)
    X = pd.DataFrame({"crp": np.linspace(0.0, 10.0, 40), "bmi": np.tile([20.0, 30.0], 20)})
    model.fit(X, X["crp"].to_numpy())
    ask = shap.TreeExplainer.__call__

    def loud(self: Any, *args: Any, **options: Any) -> Any:
        namespace: dict[str, Any] = {"__name__": "shap.it"}
        code = "def warn():\n    import warnings\n    warnings.warn('few samples')"
        exec(compile(code, "/site-packages/shap/it.py", "exec"), namespace)
        namespace["warn"]()
        return ask(self, *args, **options)

    monkeypatch.setattr(shap.TreeExplainer, "__call__", loud)
    for call in (
        lambda: model.shap_values(X[:2], algorithm="shap"),
        lambda: af.explain(model, X[:2], algorithm="shap"),
    ):
        [warning] = told(call)
        assert warning.filename == __file__
        assert str(warning.message) == "algorithm: the package shap reports: few samples"
