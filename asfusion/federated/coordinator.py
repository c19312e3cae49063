"""The server's part: ask for sums, make the plan, send tasks, average, and tell how it went."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from asfusion._checks import check_integer
from asfusion._progress import progress
from asfusion._warn import warn_user
from asfusion.exceptions import AsfusionError, ConfigurationError, InputError, TrainingError
from asfusion.federated._answers import Kind
from asfusion.federated._bagged import Bagging, is_bagged
from asfusion.federated._union import PrivateRounds, account_of, check_rounds, promise_of
from asfusion.federated.plan import Plan, Weights, check_model, describe_model, make_plan
from asfusion.federated.result import FederatedRun, Round
from asfusion.federated.scores import ScoreCounts
from asfusion.federated.strategies import FedAvg
from asfusion.federated.summary import Summary
from asfusion.federated.update import Task, Update

# From what is asked and the message to each site, to the replies of those that answered in time:
# bytes, or the words of an error.
Exchange: TypeAlias = Callable[[Kind, Mapping[str, bytes]], Mapping[str, bytes | str]]

_NO_STRATEGY = (
    "strategy: expected None for a model without weights, whose sites' predictions are averaged, "
    "got {got}. Use a JointFusion model."
)


class Coordinator:
    """Train one model across sites, over whatever carries messages.

    It sees sums and weights, and no row. A site that is silent, late, of another version or sends
    what cannot be used is done without in that round, told in the result, and asked again in the
    next one.

    Parameters
    ----------
    model : estimator of early, joint or late fusion
        Unfitted, with the encoders named.
    exchange : callable
        Takes ``"summary"`` or ``"round"`` and a message (bytes) for each site; returns the replies
        (bytes) of those that answered, or the words of their errors.
    rounds : int
        How often sites learn and are averaged; once where they send whole models.
    epochs : int
        Passes of a site over its rows in each round.
    strategy : FedAvg, optional
        How weights are averaged; `FedAvg()` by default.
    min_sites : int
        Fewest sites that must answer.
    seed : int
        Of first weights and training.

    Examples
    --------
    Two sites in this process; `asfusion.federated.simulate` does this, and sends bytes.

    >>> import pandas as pd, asfusion as af
    >>> X = pd.DataFrame({"crp": [1.0, 9.0, 3.0, 20.0] * 10})
    >>> y = [0, 1, 0, 1] * 10
    >>> model = af.JointFusionClassifier({"labs": af.TabularEncoder(["crp"])}, verbose=0)
    >>> halves = {"a": X[:20], "b": X[20:]}
    >>> sites = {k: af.federated.Site(model, half, y[:20]) for k, half in halves.items()}
    >>> def exchange(kind, messages):
    ...     if kind == "summary":
    ...         return {name: sites[name].summary().to_bytes() for name in messages}
    ...     replies = {}
    ...     for name, data in messages.items():
    ...         task = af.federated.Task.from_bytes(data)
    ...         if task.plan.startswith("{"):
    ...             sites[name].join(af.federated.read_plan(task.plan.encode(), model))
    ...         replies[name] = sites[name].work(task).to_bytes()
    ...     return replies
    >>> run = af.federated.Coordinator(model, exchange, rounds=1, epochs=1).run(["a", "b"])
    >>> run.rounds_[0].refused
    {}
    """

    def __init__(
        self,
        model: Any,
        exchange: Exchange,
        *,
        rounds: int = 10,
        epochs: int = 2,
        strategy: FedAvg | None = None,
        min_sites: int = 2,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.exchange = exchange
        self.rounds = check_integer(rounds, "rounds", minimum=1)
        self.epochs = check_integer(epochs, "epochs", minimum=1)
        check_model(model)
        check_rounds(model, self.rounds, strategy)
        if strategy is not None and is_bagged(model):
            raise ConfigurationError(_NO_STRATEGY.format(got=type(strategy).__name__))
        self.strategy: Any = (strategy or FedAvg()).start()
        self.min_sites = check_integer(min_sites, "min_sites", minimum=1)
        self.seed = seed

    def run(self, sites: list[str]) -> FederatedRun:
        """Return the trained model and how it went.

        Parameters
        ----------
        sites : list of str
            Names by which the exchange knows them.

        Returns
        -------
        FederatedRun
            With a fitted model.

        Raises
        ------
        TrainingError
            If fewer than `min_sites` answer; the message names those that did not, and why.
        """
        summaries = self._summaries(sites)
        plan = make_plan(self.model, summaries, random_state=self.seed)
        if is_bagged(self.model):
            self.strategy, self.rounds = Bagging(plan).start(), 1
        elif promise_of(self.model) is not None:
            self.strategy = PrivateRounds(plan, list(summaries), self.rounds).start()
        else:
            self.strategy.watch(plan.outlook())
        self._joined: set[str] = set()
        self._n_rows = {name: summary.n_rows for name, summary in summaries.items()}
        weights, history = plan.weights(), []
        for number in progress(range(self.rounds), "Rounds", unit="round"):
            updates, silent, n_bytes = self._round(plan, weights, number, sites, self.epochs)
            self._check_enough(updates, silent, f"Round {number + 1}")
            weights = self.strategy.aggregate(weights, updates)
            refused = {**silent, **self.strategy.refused_}
            history.append(Round.of(number, updates, refused, n_bytes))
        judged = self._last_scores(plan, weights, history, sites)
        rounds = _judged(history, judged)
        scores = sum((one.scores for one in judged.values()), ScoreCounts(()))
        told = {name: len(summary.to_bytes()) for name, summary in summaries.items()}
        n_sent = len(plan.to_bytes())
        model = plan.model_of(weights)
        if account := account_of(self.model):
            model.privacy_ = account
        return FederatedRun(model, plan, rounds, told, n_sent, self._n_rows, scores)

    def _summaries(self, sites: list[str]) -> dict[str, Summary]:
        replies = self.exchange("summary", dict.fromkeys(sites, b""))
        found, silent = _read(replies, Summary.from_bytes, sites)
        mine = describe_model(self.model)
        others = [name for name, summary in found.items() if summary.model != mine]
        silent |= dict.fromkeys(others, "sums for a model that is described differently")
        found = {name: summary for name, summary in found.items() if name not in others}
        self._check_enough(found, silent, "Summaries")
        if silent:
            told = "; ".join(f"{name}: {why}" for name, why in silent.items())
            warn_user(f"Sites without a summary are not planned for ({told}).")
        return found

    def _round(
        self, plan: Plan, weights: Weights, number: int, sites: list[str], epochs: int
    ) -> tuple[dict[str, Update], dict[str, str], dict[str, int]]:
        """Return the updates of sites that answered as asked, why others did not, and sizes."""
        rate = round_rate(number, self.rounds)
        asked = weights, number, epochs, rate
        pull = getattr(self.strategy, "proximal", 0.0)
        short = Task(*asked, plan.digest, pull).to_bytes()
        whole = Task(*asked, plan.to_bytes().decode(), pull).to_bytes()
        sent = {name: short if name in self._joined else whole for name in sites}
        replies = self.exchange("round", sent)
        found, silent = _read(replies, Update.from_bytes, sites)
        for name, update in found.items():
            if (update.plan, update.round) != (plan.digest, number):
                silent[name] = "an answer to another task"
            elif update.n_rows > self._n_rows.get(name, update.n_rows):
                silent[name] = "more rows than it told of"
        found = {name: update for name, update in found.items() if name not in silent}
        self._joined = (self._joined | set(found)) - set(silent)
        return found, silent, {name: len(replies[name]) for name in found}

    def _last_scores(
        self, plan: Plan, weights: Weights, history: list[Round], sites: list[str]
    ) -> dict[str, Update]:
        """Return what sites say of the last weights; none is asked if none holds rows out."""
        held = any(one.bins for record in history for one in record.before.values())
        if not held and not is_bagged(self.model):  # whose sites judge nothing before they send
            return {}
        return self._round(plan, weights, self.rounds, sites, 0)[0]

    def _check_enough(self, found: Mapping[str, Any], silent: Mapping[str, str], what: str) -> None:
        if len(found) >= self.min_sites:
            return
        told = "; ".join(f"{name}: {why}" for name, why in silent.items())
        msg = (
            f"{what}: expected answers of at least {self.min_sites} sites, got {len(found)} "
            f"({told}). Mend those, or lower min_sites."
        )
        raise TrainingError(msg)


def round_rate(number: int, rounds: int) -> float:
    """Return the factor on the learning rate in a round: half a cosine over all of them."""
    return 0.5 * (1.0 + math.cos(math.pi * number / rounds))


def _read(
    replies: Mapping[str, bytes | str], read: Callable[[bytes], Any], sites: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what sites said, and of the others why it is not there."""
    found, silent = {}, {}
    for name in sites:
        reply = replies.get(name, "no answer in time")
        if isinstance(reply, str):
            silent[name] = reply
            continue
        try:
            found[name] = read(reply)
        except InputError as error:
            silent[name] = str(error)
    return found, silent


def printable(said: bytes, longest: int = 500) -> str:
    """Return what a site said in words, one line of them, for a terminal and a page."""
    text = said[: 4 * longest].decode(errors="replace")[:longest]
    return "".join(sign if sign.isprintable() else " " for sign in text)


def words_of(error: Exception) -> str:
    """Return what may be told of a site's error: ours says no cell, of another only its type."""
    return str(error) if isinstance(error, AsfusionError) else type(error).__name__


def _judged(history: list[Round], last: Mapping[str, Update]) -> tuple[Round, ...]:
    """Return rounds with the scores of the weights that they ended with: told one round later."""
    scores = [one.before for one in history[1:]] + [{k: u.scores for k, u in last.items()}]
    return tuple(one.scored(after) for one, after in zip(history, scores, strict=True))
