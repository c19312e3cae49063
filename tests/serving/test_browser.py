"""The clinician's page in a real browser, five patients of which three are no ordinary ones.

It takes playwright and a Chromium, which the other tests do without: `make test-serving` makes an
environment with the first and uses the second of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import asfusion as af
from tests.browser import NO_BROWSER, find_chromium

sync = pytest.importorskip("playwright.sync_api", reason="no playwright here: make test-serving")
pytest.importorskip("streamlit", reason="the extra page is not installed")
BROWSER = find_chromium()
pytestmark = pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)

ROOT = Path(__file__).parents[2]
MARK = "Zyzzyva-4711"
FORGED = (
    f"{MARK} <script>window.forged = 1</script><img src=x onerror='window.forged = 2'>"
    "<b>bold</b> [link](javascript:window.forged=3) ![picture](http://198.51.100.7/p.png) $x^2$\n"
    "# heading\n<iframe srcdoc='<script>parent.forged = 4</script>'></iframe>"
)
WARNING = "Research, not a medical device."
WAIT_MS = 60_000


class Page(NamedTuple):
    """An open page, what it asked for, and what was said beside it."""

    view: Any
    asked: list[str]
    dialogs: list[str]
    errors: list[str]


class Served(NamedTuple):
    """Where the page is, its process, its folders, and what it was made of."""

    url: str
    process: subprocess.Popen[str]
    folder: Path
    films: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = tmp_path_factory.mktemp("page")
    films = made / "films"
    films.mkdir()
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "crp": rng.gamma(2.0, 6.0, 40).round(1),
            "esr": rng.gamma(2.0, 9.0, 40).round(0),
            "hla_b27": rng.random(40) < 0.5,
            "sex": rng.choice(["female", "male"], 40),
            "note": rng.choice(["stiff in the morning", "no pain at night", "uveitis"], 40),
            "pelvis": [str(films / f"{n}.png") for n in range(40)],
        }
    )
    for n in range(40):
        grey = Image.fromarray(rng.integers(0, 256, (9, 8), np.uint8))
        grey.resize((160, 180)).save(films / f"{n}.png")
    X.loc[1, "note"] = FORGED
    y = np.where(X["crp"] + 9 * X["hla_b27"] > 15, "axSpA", "other")
    labs = {"labs": af.TabularEncoder(["crp", "esr", "hla_b27", "sex"])}
    more = {
        "note": af.TextEncoder("note", backbone="tfidf"),
        "pelvis": af.ImageEncoder("pelvis", backbone="compact", size=32),
    }
    model = af.JointFusionClassifier(labs | more, max_epochs=2, random_state=0, verbose=0)
    model.fit(X, y).save(made / "model.asf")
    X.head(4).to_csv(made / "patients.csv", index=False)
    X.tail(12).to_parquet(made / "background.parquet")
    af.evaluate(model, X, y, n_bootstrap=20).to_html(made / "report.html")
    (made / "home").mkdir()
    with running(made) as (url, process):
        yield Served(url, process, made, films)


@contextlib.contextmanager
def running(made: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the page as a user does, in a home and a folder for temporary files that are empty."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-B", "-m", "asfusion.cli.commands", "page", str(made / "model.asf")]
    words += ["--patients", str(made / "patients.csv"), "--unit", "crp=mg/L", "--port", port]
    words += ["--background", str(made / "background.parquet")]
    words += ["--report", str(made / "report.html")]
    home = str(made / "home")
    settings = {
        **os.environ,
        **{"HOME": home, "TMPDIR": home, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        # The pictures' fonts are listed once for each machine, as for any use of matplotlib.
        **{"MPLCONFIGDIR": str(made / "fonts"), "ASKED": str(made / "asked.jsonl")},
        "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks" / "sockets"), str(ROOT)]),
    }
    with (made / "output.txt").open("w") as output:
        process = subprocess.Popen(
            words, cwd=home, env=settings, text=True, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}/", process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Any, served: Served, **how: Any) -> Iterator[Page]:
    """Open the page in a browser that knows nothing; at its end nothing was asked of others."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
    view = context.new_page()
    found = Page(view, [], [], [])
    context.on("request", lambda request: found.asked.append(request.url))
    view.on("websocket", lambda socket: found.asked.append(socket.url))
    view.on("dialog", lambda dialog: (found.dialogs.append(dialog.type), dialog.dismiss()))
    view.on("pageerror", lambda error: found.errors.append(str(error)))
    until_there(view, served)
    yield found
    strange = [url for url in found.asked if not is_here(url, served.url)]
    assert found.asked
    assert not strange
    assert not found.dialogs
    assert not found.errors
    assert view.evaluate("window.forged") is None
    context.close()


def is_here(url: str, page: str) -> bool:
    return url.startswith((page, page.replace("http", "ws", 1), f"blob:{page}", "data:"))


def until_there(view: Any, served: Served) -> None:
    for _ in range(120):
        assert served.process.poll() is None, (served.folder / "output.txt").read_text()
        with contextlib.suppress(sync.Error):
            view.goto(served.url)
            break
        view.wait_for_timeout(500)
    settled(view)


def settled(view: Any) -> None:
    """Wait until the page was drawn to its end; whatever is on it, the warning is as well."""
    view.get_by_text("Nothing is stored.").wait_for(timeout=WAIT_MS)
    view.wait_for_timeout(300)
    view.locator('[data-test-script-state="notRunning"]').wait_for(timeout=WAIT_MS)
    view.wait_for_timeout(200)
    assert view.get_by_test_id("stMain").get_by_text(WARNING).is_visible()
    assert view.get_by_test_id("stException").count() == 0


def said(view: Any) -> str:
    return str(view.get_by_test_id("stMain").inner_text())


def shows(view: Any, text: str) -> None:
    """Wait until a text stands on the page: a slow machine begins to draw late."""
    view.get_by_test_id("stMain").get_by_text(text).first.wait_for(timeout=WAIT_MS)


def choose(view: Any, number: int) -> None:
    """Take a patient of the list."""
    enter(view, "Patient, 1 to 4", number)


def enter(view: Any, label: str, value: Any) -> None:
    box = view.get_by_label(label, exact=True)
    box.fill(str(value))
    box.press("Control+Enter" if label == "note" else "Enter")
    settled(view)


def pick(view: Any, label: str, choice: str) -> None:
    box = view.get_by_role("combobox", name=label)
    box.fill(choice)
    box.press("Enter")
    settled(view)


def seen(view: Any, text: str) -> None:
    """Walk through what is on the page: why, what if, and how the model was judged."""
    shows(view, text)
    settled(view)
    view.get_by_role("tab", name="What if").click()
    settled(view)
    view.get_by_role("tab", name="Why").click()
    view.get_by_text("How this model was judged").click()
    settled(view)
    judged = view.frame_locator("iframe").first
    assert judged.get_by_text("research tool, not a medical device").count()


# -- five patients ---------------------------------------------------------------------


def test_a_complete_patient_is_predicted_explained_and_kept(browser: Any, served: Served) -> None:
    with opened(browser, served) as page:
        view = page.view
        choose(view, 3)
        enter(view, "crp (mg/L)", 41)
        pick(view, "hla_b27", "yes")
        pick(view, "sex", "male")
        enter(view, "note", "stiff in the morning")
        view.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(served.films / "7.png")
        settled(view)
        seen(view, "has the highest probability")
        for part in ("Within labs", "Within note", "Within pelvis", "crp 41 mg/L"):
            shows(view, part)
        with view.expect_download() as kept:
            view.get_by_role("button", name="Keep this as a page").click()
        written = Path(kept.value.path()).read_text()
        assert "research tool, not a medical device" in written
        assert "<script" not in written


def test_a_forged_note_is_shown_as_it_is_and_runs_nothing(browser: Any, served: Served) -> None:
    with opened(browser, served) as page:
        view = page.view
        choose(view, 1)
        enter(view, "note", FORGED)
        seen(view, "has the highest probability")
        main = view.get_by_test_id("stMain")
        for tag in ("script", "b", "img[src=x]", "img[src*='198.51']", "a[href^=javascript]", "h5"):
            assert main.locator(tag).count() == 0
        with view.expect_download() as kept:
            view.get_by_role("button", name="Keep this as a page").click()
        view.goto("about:blank")
        view.set_content(Path(kept.value.path()).read_text())
        assert view.get_by_text("javascript").count() <= view.get_by_text(MARK).count() + 1
        assert view.locator("script").count() == 0
        assert view.evaluate("window.forged") is None


def test_a_film_that_is_cut_is_told_by_its_column_alone(
    browser: Any, served: Served, tmp_path: Path
) -> None:
    whole = next(af.datasets.make_axspa_cohort(
        2, random_state=0, path=tmp_path, modalities=["xray"], missing=0.0
    ).X["pelvis_xray"].items())[1]  # fmt: skip
    cut = tmp_path / f"{MARK}.dcm"
    cut.write_bytes(Path(whole).read_bytes()[:-900])
    with opened(browser, served) as page:
        view = page.view
        view.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(cut)
        shows(view, "Send another file")
        told = view.get_by_test_id("stMain").get_by_test_id("stAlert").all_inner_texts()
        assert any("pelvis" in one and "Send another file" in one for one in told)
        assert MARK not in said(view)
        view.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(whole)
        settled(view)
        seen(view, "has the highest probability")


def test_what_is_missing_is_told(browser: Any, served: Served) -> None:
    with opened(browser, served) as page:
        view = page.view
        choose(view, 4)
        enter(view, "note", "")
        seen(view, "Without: note.")
        pick(view, "hla_b27", "not known")
        seen(view, "Without: note.")


def test_a_patient_of_the_list_with_a_forged_note(browser: Any, served: Served) -> None:
    with opened(browser, served) as page:
        choose(page.view, 2)
        sync.expect(page.view.get_by_label("note", exact=True)).to_have_value(FORGED)
        seen(page.view, "has the highest probability")
        assert "From the list: 1.png" in page.view.get_by_test_id("stSidebar").inner_text()


# -- by keyboard, at night, on a phone -------------------------------------------------


def test_the_keyboard_is_enough(browser: Any, served: Served) -> None:
    with opened(browser, served) as page:
        view = page.view
        before = said(view)
        reach(view, "crp (mg/L)")
        view.keyboard.press("Control+a")
        view.keyboard.type("77")
        view.keyboard.press("Enter")
        shows(view, "crp 77 mg/L")
        settled(view)
        assert said(view) != before
        reach(view, "Why")
        view.keyboard.press("ArrowRight")
        view.keyboard.press("Enter")
        shows(view, "If this were another value")
        reach(view, "Patient, 1 to 4", backwards=True)
        view.keyboard.press("ArrowUp")
        view.keyboard.press("Enter")
        settled(view)
        sync.expect(view.get_by_label("note", exact=True)).to_have_value(FORGED)


def reach(view: Any, name: str, *, backwards: bool = False) -> None:
    """Press Tab until something of that name has the focus."""
    found = []
    for _ in range(80):
        view.keyboard.press("Shift+Tab" if backwards else "Tab")
        told = view.evaluate(
            "e => { const one = document.activeElement; return [one.ariaLabel, "
            "one.innerText, ...[...(one.labels || [])].map(l => l.innerText)] }"
        )
        found.append(told)
        if name in [str(one).strip() for one in told if one]:
            return
    raise AssertionError(found)


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 2200}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 2200}},
    "phone": {"viewport": {"width": 390, "height": 2200}, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_is_wider_than_the_page(look: str, browser: Any, served: Served) -> None:
    """A picture of each is left in the folder of the test, to be looked at."""
    with opened(browser, served, **LOOKS[look]) as page:
        view = page.view
        view.screenshot(path=served.folder / f"{look}.png")
        wide = view.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1]
        colour = view.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        assert (sum(map(int, colour[4:-1].split(","))) < 200) == (look == "dark")
        if look == "phone":
            view.get_by_test_id("stExpandSidebarButton").click()
            view.wait_for_timeout(900)
            assert view.get_by_test_id("stSidebar").get_by_text(WARNING).is_visible()
            view.screenshot(path=served.folder / f"{look}-form.png")


def test_nothing_was_stored_or_asked_of_others(served: Served) -> None:
    """Last: the patients above have left nothing where the page may write, nor in its output."""
    left = [file for file in (served.folder / "home").rglob("*") if file.is_file()]
    assert not left
    assert MARK not in (served.folder / "output.txt").read_text()
    asked = served.folder / "asked.jsonl"
    lines = asked.read_text().splitlines() if asked.exists() else []
    places = {json.loads(line)[1] for line in lines}
    assert places <= {"", "127.0.0.1", "localhost", "::1"}
