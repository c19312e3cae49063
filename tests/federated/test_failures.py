"""Sites that are silent, late, restarted or of another version: named, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest

import asfusion as af
from asfusion.exceptions import AsfusionWarning, TrainingError
from asfusion.federated import Coordinator, FederatedRun, Site, Update
from asfusion.federated._answers import Kind, answer
from asfusion.federated.coordinator import words_of
from tests.federated.test_federated import rows

Broken: TypeAlias = Callable[[Kind, int, bytes], bytes | str]
NAMES = ("north", "south", "west")


def model(**settings: Any) -> Any:
    labs = af.TabularEncoder(["crp", "sex"])
    return af.JointFusionClassifier({"labs": labs}, verbose=0, **settings)


class Hospitals:
    """Three hospitals that answer as over an engine; what the last one says can be changed."""

    def __init__(self, change: Any = None, last: Any = None) -> None:
        X, y = rows()
        models = dict.fromkeys(NAMES, model()) | ({} if last is None else {"west": last})
        self.made = {
            name: lambda part=part, name=name: Site(models[name], X[part::3], y[part::3])
            for part, name in enumerate(NAMES)
        }
        self.memories: dict[str, dict[str, bytes]] = {name: {} for name in NAMES}
        self.change, self.asked = change, 0

    def __call__(self, kind: Kind, messages: Mapping[str, bytes]) -> dict[str, bytes | str]:
        replies: dict[str, bytes | str] = {}
        for name, data in messages.items():
            try:  # each site is a new process that has only its memory
                replies[name] = answer(self.made[name](), kind, data, self.memories[name])
            except Exception as error:
                replies[name] = words_of(error)
        if self.change is not None:
            self.change(self, kind, self.asked, replies)
        self.asked += 1
        return replies

    def run(self, **settings: Any) -> FederatedRun:
        settings = {"rounds": 3, "epochs": 1} | settings
        return Coordinator(model(), self, **settings).run(list(NAMES))


def refused(run: FederatedRun) -> list[str]:
    """Return why the last hospital was not counted, round by round."""
    return [one.refused.get("west", "") for one in run.rounds_]


def silent(hospitals: Any, kind: Kind, asked: int, replies: dict[str, Any]) -> None:
    if asked == 2:
        del replies["west"]


def late(hospitals: Any, kind: Kind, asked: int, replies: dict[str, Any]) -> None:
    if kind == "round":  # from its first answer on, it is one behind
        waiting, hospitals.waiting = getattr(hospitals, "waiting", None), replies["west"]
        replies["west"] = waiting or "no answer in time"


def restarted(hospitals: Any, kind: Kind, asked: int, replies: dict[str, Any]) -> None:
    if asked == 1:
        hospitals.memories["west"].clear()


def odd(hospitals: Any, kind: Kind, asked: int, replies: dict[str, Any]) -> None:
    if asked == 2:
        replies["west"] = b"\x00" * 40


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (silent, ["", "no answer in time", ""]),
        (late, ["no answer in time", "an answer to another task", "an answer to another task"]),
        (restarted, ["", "Send the plan again", ""]),
        (odd, ["", "Do both sides run the same version", ""]),
    ],
)
def test_a_site_that_fails_is_named_and_comes_back(change: Any, why: list[str]) -> None:
    run = Hospitals(change).run()
    for got, expected in zip(refused(run), why, strict=True):
        assert expected in got if expected else got == ""
    assert all(set(one.refused) <= {"west"} for one in run.rounds_)
    assert np.isfinite(run.model_.predict_proba(rows()[0])).all()


def test_a_site_of_another_version_is_left_out_and_the_others_go_on() -> None:
    with pytest.warns(AsfusionWarning, match="west: sums for a model that is described"):
        run = Hospitals(last=model(modality_dropout=0.4)).run()
    assert all("expected the model that sites summed" in why for why in refused(run))
    assert set(run.site_rows) == {"north", "south"}


def test_sites_of_other_versions_alone_are_told() -> None:
    with pytest.raises(TrainingError, match="at least 3 sites, got 2 .west: sums for a model"):
        Hospitals(last=model(modality_dropout=0.4)).run(min_sites=3)


def test_a_site_made_anew_for_each_message_learns_as_one_that_stays() -> None:
    X, y = rows()
    names = np.array(NAMES)[np.arange(len(y)) % 3]
    stays = af.federated.simulate(
        model(), X, y, names, rounds=3, epochs=1, holdout=0.0, verbose=0, random_state=0
    )
    anew = Hospitals().run(seed=stays.plan_.seed)
    ours, theirs = (one.model_.network_.state_dict() for one in (stays, anew))
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_nobody_is_asked_to_judge_where_nobody_holds_rows_out() -> None:
    asked: list[Kind] = []

    def count(hospitals: Any, kind: Kind, number: int, replies: dict[str, Any]) -> None:
        asked.append(kind)
        assert all(Update.from_bytes(one).weights for one in replies.values() if kind == "round")

    Hospitals(count).run()
    assert asked == ["summary", "round", "round", "round"]
