"""Differential privacy of joint fusion, at one site and across sites, and what it leaves out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from asfusion._checks import check_integer, check_number
from asfusion._described import Described
from asfusion._door import public
from asfusion._optional import import_optional
from asfusion.exceptions import ConfigurationError, InputError
from asfusion.show import page

# What is learned from rows without noise, and so is no part of the promise.
NOT_COVERED = (
    "what encoders learn before training (medians, spreads, categories, vocabulary, bins)",
    "numbers of rows and of each class, and the prior, scaling and class weights made of them",
    "a federated plan and the sums it is made of",
    "counts of held-out rows, by which rounds are judged",
    "choices made by looking at results: parameters, thresholds, which model is kept",
    "a patient under two names, or at two sites: each counts by itself",
)


_LEAST_EPSILON, _MOST_STEPS = 0.01, 1_000_000
_CLOSE = 0.01  # of the noise
_UNITS = {
    True: "patient",
    False: "row (no groups were given)",
    None: "patient (row, at sites that gave no groups)",
}


class DifferentialPrivacy(Described):
    """Bound what the weights of a joint model can tell of any one patient [1]_.

    Passed as ``training=asfusion.TrainingOptions(privacy=...)``. Gradients are summed by patient,
    clipped, and blurred by Gaussian noise in each step; who takes part in a step is drawn at
    random. The noise is the least by which the accountant of opacus [2]_ (privacy loss
    distributions) finds `epsilon` after all steps. Noise and draws come from the operating
    system: `random_state` does not repeat them.

    Rows with the same ``groups`` are one patient; without groups each row is one.

    Parameters
    ----------
    epsilon : float
        How much more likely any answer may become because of one patient: at most
        ``exp(epsilon)`` times. From 0.01 on.
    delta : float
        Probability with which that may fail; less than one in the number of patients.
    clip : float
        Longest gradient of a patient.
    epochs : int
        Passes over the rows that `epsilon` pays for, in expectation.
    sample_rate : float
        Probability with which a patient takes part in a step.
    sites : int
        How many sites share the noise of one sum, where a model is trained across sites. With 1
        each site adds all of it, and the promise holds whoever sees what the site sends. With
        more, each adds its share: the promise then holds for who sees only sums over all sites
        (secure aggregation), and presumes that no site leaves its share out.

    Notes
    -----
    Across sites each round is one step: a site sends a blurred sum of gradients, and the server
    takes the step. So ``rounds=privacy.n_steps``. Noise wants a higher ``learning_rate`` than
    usual: 0.006 was best on the synthetic cohort, where 0.001 was far too low.

    References
    ----------
    .. [1] Abadi et al., "Deep Learning with Differential Privacy", CCS 2016.
       https://doi.org/10.1145/2976749.2978318
    .. [2] Gopi, Lee, Wutschitz, "Numerical Composition of Differential Privacy", NeurIPS 2021.
       https://doi.org/10.48550/arXiv.2106.02848

    Examples
    --------
    >>> import asfusion as af
    >>> privacy = af.federated.DifferentialPrivacy(epsilon=8, delta=1e-3, epochs=10)
    >>> privacy.n_steps
    40
    >>> model = af.JointFusionClassifier(training=af.TrainingOptions(privacy=privacy))
    """

    def __init__(
        self,
        epsilon: float = 8.0,
        *,
        delta: float,
        clip: float = 1.0,
        epochs: int = 25,
        sample_rate: float = 0.25,
        sites: int = 1,
    ) -> None:
        self.epsilon = epsilon
        self.delta = delta
        self.clip = clip
        self.epochs = epochs
        self.sample_rate = sample_rate
        self.sites = sites

    def check(self) -> None:
        """Raise a `ConfigurationError` for a parameter that cannot be."""
        check_number(self.epsilon, "epsilon", minimum=_LEAST_EPSILON)
        check_number(self.delta, "delta", minimum=0.0, maximum=0.5, exclusive=True)
        check_number(self.clip, "clip", minimum=0.0, exclusive=True)
        check_number(self.sample_rate, "sample_rate", minimum=0.0, maximum=1.0)
        if not self.sample_rate:
            raise ConfigurationError("sample_rate: expected more than 0, got 0.")
        check_integer(self.epochs, "epochs", minimum=1)
        check_integer(self.sites, "sites", minimum=1)
        if self.n_steps > _MOST_STEPS:
            msg = (
                f"sample_rate: expected at most {_MOST_STEPS} steps for {self.epochs} epochs, got "
                f"{self.n_steps}. Take a higher rate."
            )
            raise ConfigurationError(msg)

    @property
    def n_steps(self) -> int:
        """How many steps `epsilon` pays for."""
        return self._as_steps(self.epochs)

    @property
    def noise_multiplier(self) -> float:
        """Spread of the noise, in gradients of the clipped length."""
        self.check()
        return _noise(float(self.epsilon), float(self.delta), self.sample_rate, self.n_steps)

    def steps_of(self, epochs: int) -> int:
        """Return how many steps make so many passes.

        Parameters
        ----------
        epochs : int
            At most those that are paid for.

        Returns
        -------
        int
            Steps.

        Raises
        ------
        ConfigurationError
            If they are more.
        """
        if epochs > self.epochs:
            msg = (
                f"max_epochs: expected at most the {self.epochs} epochs that privacy pays for, got "
                f"{epochs}. Say DifferentialPrivacy(epochs={epochs}), which adds more noise."
            )
            raise ConfigurationError(msg)
        return self._as_steps(epochs)

    def spent(self, n_steps: int, *, sites: int = 1) -> float:
        """Return epsilon after so many steps.

        Parameters
        ----------
        n_steps : int
            Steps taken.
        sites : int
            Among how many the noise was shared, for who sees what one of them sent.

        Returns
        -------
        float
            At `delta`.
        """
        noise = self.noise_multiplier / math.sqrt(sites)
        return _spent(noise, float(self.delta), self.sample_rate, n_steps)

    def account(self, n_steps: int, *, by_patient: bool | None) -> dict[str, Any]:
        """Return what so many steps have spent, as a fitted model keeps it in ``privacy_``."""
        return {
            "epsilon": self.spent(n_steps),
            "delta": float(self.delta),
            "n_steps": n_steps,
            "noise_multiplier": self.noise_multiplier,
            "clip": float(self.clip),
            "sample_rate": float(self.sample_rate),
            "sites": self.sites,
            "by_patient": by_patient,
        }

    def _as_steps(self, epochs: int) -> int:
        return max(1, math.ceil(epochs / self.sample_rate - 1e-9))


class PrivacyStatement(page.Page):
    """What weights were promised, and what the promise leaves out.

    Parameters
    ----------
    account : mapping of str to float
        ``privacy_`` of a model.

    Examples
    --------
    >>> from asfusion.federated import DifferentialPrivacy, PrivacyStatement
    >>> privacy = DifferentialPrivacy(1, delta=1e-3, sample_rate=0.5, epochs=1)
    >>> PrivacyStatement(privacy.account(2, by_patient=True)).epsilon <= 1
    True
    """

    def __init__(self, account: Mapping[str, Any]) -> None:
        self.account = dict(account)

    @property
    def epsilon(self) -> float:
        """What was spent."""
        return float(self.account["epsilon"])

    @property
    def promise(self) -> str:
        """The promise, in sentences."""
        told = self.account
        unit = _UNITS[told["by_patient"]]
        text = (
            f"epsilon = {told['epsilon']:.2f} at delta = {told['delta']:g} for any one {unit}, "
            f"after {told['n_steps']} steps with noise of {told['noise_multiplier']:.2f} times a "
            f"clipped gradient."
        )
        if told["sites"] == 1:
            return text
        return (
            f"{text} It holds for who sees sums over all {told['sites']} sites alone, and only if "
            "each of them added its share of the noise."
        )

    @property
    def gaps(self) -> str:
        """What the promise leaves out, in one sentence."""
        return f"Not covered by it: {'; '.join(NOT_COVERED)}."

    def _title(self) -> str:
        return "asfusion differential privacy"

    def _text(self) -> str:
        return f"{self.promise}\n{self.gaps}"

    def _body(self) -> list[str]:
        return [
            page.heading("Differential privacy", 1),
            page.paragraph(self.promise, "verdict"),
            page.paragraph(self.gaps),
            page.paragraph(page.RESEARCH_TOOL, "note"),
        ]


@public
def privacy_of(model: Any) -> PrivacyStatement:
    """Return what was promised of the weights of a fitted model, and what was not.

    Parameters
    ----------
    model : estimator
        Fitted with ``training=asfusion.TrainingOptions(privacy=...)``, here or across sites, or
        loaded.

    Returns
    -------
    PrivacyStatement
        Prints, and shows itself in a notebook.

    Raises
    ------
    InputError
        If the model was fitted without such a promise.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(60, modalities=["labs"])
    >>> privacy = af.federated.DifferentialPrivacy(1, delta=1e-3, epochs=1, sample_rate=0.5)
    >>> model = af.JointFusionClassifier(
    ...     {"labs": af.TabularEncoder(["crp", "esr"])},
    ...     training=af.TrainingOptions(privacy=privacy), verbose=0,
    ... )
    >>> model = model.fit(cohort.X, cohort.y, groups=cohort.groups)
    >>> af.federated.privacy_of(model).epsilon <= 1
    True
    """
    account = getattr(model, "privacy_", None)
    if account is None:
        msg = (
            "privacy_of: expected a fitted model that learned by private steps, got one that did "
            "not. Fit with training=asfusion.TrainingOptions(privacy=...)."
        )
        raise InputError(msg)
    return PrivacyStatement(account)


@lru_cache(maxsize=64)
def _noise(epsilon: float, delta: float, rate: float, n_steps: int) -> float:
    """Return the least noise that keeps a promise, up to a percent.

    Rényi's accountant is quick and asks for a little too much: where the search begins. Where
    noise is far too small, the tight one takes seconds.
    """
    utils = _accountants("asfusion.federated.DifferentialPrivacy", "accountants.utils")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of orders of Rényi, by which the search only begins
        enough = float(
            utils.get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=n_steps,
                accountant="rdp",
            )
        )
    while _spent(enough, delta, rate, n_steps) > epsilon:
        enough *= 1.02
    little = 0.7 * enough
    while enough - little > _CLOSE * enough:
        middle = (little + enough) / 2
        if _spent(middle, delta, rate, n_steps) > epsilon:
            little = middle
        else:
            enough = middle
    return enough


@lru_cache(maxsize=256)
def _spent(noise: float, delta: float, rate: float, n_steps: int) -> float:
    """Return epsilon of steps with this noise, by the same accountant."""
    if not n_steps:
        return 0.0
    made = _accountants("asfusion.federated.DifferentialPrivacy", "accountants")
    accountant = made.create_accountant("prv")
    accountant.history = [(noise, rate, n_steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def _accountants(needed_for: str, part: str) -> Any:
    return import_optional(f"opacus.{part}", needed_for=needed_for, extra="privacy")
