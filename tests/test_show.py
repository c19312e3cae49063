"""Every result prints, shows itself and is written as a page, in one way."""

import importlib
import inspect
import pkgutil

import matplotlib.pyplot as plt
import pytest

import asfusion
from asfusion.evaluation.report import evaluate
from asfusion.show.figures import new_axes
from asfusion.show.page import Page

ROOMS = ("baselines", "comparison", "crossvalidation", "duplicates", "evaluation")


def pages() -> list[type]:
    """Return every class of results in the rooms that judge."""
    found = {}
    for info in pkgutil.walk_packages(asfusion.__path__, "asfusion."):
        if info.name.split(".")[1] in ROOMS:
            for name, value in vars(importlib.import_module(info.name)).items():
                if inspect.isclass(value) and issubclass(value, Page):
                    found[name] = value
    # A view is no result, though nothing in it is abstract.
    return [cls for name, cls in found.items() if not name.endswith("Page")]


@pytest.mark.parametrize("cls", pages(), ids=lambda cls: cls.__name__)
def test_a_result_is_shown_as_every_other(cls):
    """A data class without ``repr=False`` would print its fields, predictions among them."""
    assert cls.__repr__ is Page.__repr__
    assert cls.to_html is Page.to_html
    assert "_repr_html_" not in vars(cls)


def test_results_of_each_room_are_pages():
    assert {cls.__name__ for cls in pages()} == {
        "BaselineBoard", "Board", "CrossValidation", "Duplicates", "Report", "Sheet", "SiteProbe",
        "SubgroupAudit",
    }  # fmt: skip


def test_every_page_is_written_alone_and_inert(tmp_path):
    report = evaluate(
        [0.2, 0.4, 0.6, 0.8] * 6, y=[0, 1, 0, 1] * 6, subgroups={"<b>": [0, 1] * 12}, n_bootstrap=20
    )
    for result in (report, report.subgroups, report.model_card(), report.checklist("claim")):
        file = tmp_path / "page.html"
        assert result.to_html(str(file)) == file
        page = file.read_text()
        assert result._repr_html_() in page
        assert page.startswith("<!DOCTYPE html>") and "default-src 'none'" in page
        assert "<b>" not in page


def test_a_page_must_say_what_it_is():
    class Nothing(Page):
        pass

    with pytest.raises(TypeError, match="_body.*_text.*_title"):
        Nothing()


def test_figures_are_pyplot_s_only_where_they_are_shown():
    plt.close("all")
    report = evaluate([0.2, 0.4, 0.6, 0.8], y=[0, 1, 0, 1], n_bootstrap=5)
    report._repr_html_()
    assert plt.get_fignums() == []
    report.plot()
    assert len(plt.get_fignums()) == 1
    figure, axes = new_axes((4, 2), 1, 2, shown=False, sharey=True)
    assert len(axes) == 2 and len(plt.get_fignums()) == 1
    assert figure.get_size_inches().tolist() == [4, 2]
    plt.close("all")
