"""Who is one of torchrun's processes, and who only inherited what it said."""

from __future__ import annotations

import os
import threading

import pytest

from asfusion import _launch
from asfusion._launch import Launch, is_first, launch, shares_work, together
from asfusion._progress import progress, progress_shown, tell

TOLD = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}


@pytest.fixture(autouse=True)
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    # Set and taken away again: what is asked sets it for those that this process starts.
    monkeypatch.setenv(_launch._CLAIM, "")
    monkeypatch.delenv(_launch._CLAIM)


def test_a_rank_is_told_from_those_that_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch() == Launch(rank=1, world=2, local_rank=0) and not is_first()
    assert os.environ[_launch._CLAIM] == str(os.getpid())
    monkeypatch.setenv(_launch._CLAIM, "1")  # as a process of mine finds it
    assert launch() is None and is_first()


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "1"), ("TORCHELASTIC_RUN_ID", None)])
def test_one_process_is_nobodys_rank(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    monkeypatch.delenv(name)
    if value is not None:
        monkeypatch.setenv(name, value)
    assert launch() is None and is_first()


def test_a_worker_of_joblib_is_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    current = _launch.multiprocessing.current_process()
    monkeypatch.setattr(current, "_name", "LokyProcess-1")
    assert launch() is None


def test_work_is_shared_within_fit_and_in_one_thread() -> None:
    assert not shares_work()
    found: list[bool] = []
    with together():
        assert shares_work()
        thread = threading.Thread(target=lambda: found.append(shares_work()))
        thread.start()
        thread.join()
    assert found == [False] and not shares_work()


def test_only_the_first_shows_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_shown(True):
        assert list(progress([1], "Training")) == [1]
        tell("what was chosen")
    assert capsys.readouterr() == ("", "")
