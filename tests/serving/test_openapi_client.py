"""A property-based client, which knows nothing of the service but what its OpenAPI says.

It takes schemathesis, which the other tests do without: `make test-serving` makes an environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings

import asfusion as af
from asfusion.serving import Limits, make_app

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis: make test-serving")
pytest.importorskip("starlette", reason="the extra serve is not installed")

TOKEN = "a-token-of-some-length"
N_REQUESTS = 150
# More rows than are taken are told as a body that is too large is: by 413.
REFUSED = {"negative_data_rejection": {"expected-statuses": ["400", "401", "413", "415", "422"]}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a saved model, and rows to explain it by."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "crp": rng.normal(10, 3, 60),
            "b27": rng.random(60) < 0.4,
            "seen": pd.date_range("2024-01-01", periods=60),
            "sex": rng.choice(["f", "m"], 60),
            "note": rng.choice(["stiff in the morning", "no pain"], 60),
        }
    )
    encoders = {
        "labs": af.TabularEncoder(["crp", "b27", "seen", "sex"]),
        "note": af.TextEncoder("note", backbone="tfidf"),
    }
    made = af.EarlyFusionClassifier(encoders, random_state=0, verbose=0)
    path = made.fit(X, np.where(X["crp"] > 10, "yes", "no")).save(folder / "model.asf")
    return path, X.head(9)


def described(model: Any, token: str | None) -> Any:
    """Return what a service says of itself; it is asked within this process."""
    path, background = model
    limits = Limits(megabytes=1.0, rows=20)
    app = make_app(path, token=token, units={"crp": "mg/L"}, background=background, limits=limits)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    config = schemathesis.Config.from_dict({"checks": REFUSED})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config, headers=headers)


POSTS, GETS = ("/predict", "/explain"), ("/schema", "/ready", "/health", "/metrics")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("route", POSTS)
def test_rows_are_answered_or_refused_as_it_says(route: str, mode: Any, model: Any) -> None:
    """Each answer has a status, a type and a content as described; what is no row is refused."""
    attack(described(model, None)[route]["POST"], mode, N_REQUESTS)


@pytest.mark.parametrize("route", [*POSTS, *GETS])
@pytest.mark.parametrize("token", [TOKEN, None])
def test_who_has_no_token_is_refused_as_it_says(route: str, token: str | None, model: Any) -> None:
    method = "POST" if route in POSTS else "GET"
    positive = schemathesis.GenerationMode.POSITIVE
    attack(described(model, token)[route][method], positive, 20)


def attack(operation: Any, mode: Any, n_requests: int) -> None:
    """Send requests that are as described (JSON, whose text is), or of all types that are not."""

    @settings(max_examples=n_requests, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        is_right = mode is schemathesis.GenerationMode.POSITIVE
        assume(not is_right or case.media_type in (None, "application/json"))
        case.call_and_validate()

    ask()
