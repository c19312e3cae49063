"""Joint fusion by differentially private steps: what it can promise, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asfusion._checks import quoted
from asfusion.estimators._rows import TrainingRows
from asfusion.estimators._threshold import needs_unseen
from asfusion.exceptions import ConfigurationError
from asfusion.training.apart import LossWeights
from asfusion.training.losses import row_loss
from asfusion.training.private import PrivateSteps
from asfusion.training.rows import Rows
from asfusion.training.settings import TrainingSettings


def is_private(model: Any) -> bool:
    """Return whether a joint model learns by private steps."""
    return model._options().privacy is not None


def check_private(model: Any, *, part: bool = False) -> None:
    """Raise where a private model would look at its rows beside the steps that are counted.

    A `part` of another model is fitted once per modality or fold, each time at the whole price.
    """
    if not is_private(model):
        return
    privacy = model._options().privacy
    if not hasattr(privacy, "steps_of"):
        msg = (
            "privacy: expected None or asfusion.federated.DifferentialPrivacy, got "
            f"{type(privacy).__name__}."
        )
        raise ConfigurationError(msg)
    privacy.check()
    if part:
        msg = (
            "privacy: expected a joint model that is fitted as a whole, got one that is a part of "
            "another: each modality and fold would spend epsilon anew. Fit the joint model alone."
        )
        raise ConfigurationError(msg)
    found = {
        "early_stopping": model.early_stopping is True,
        "pretrain": model.pretrain is not None,
        "checkpoint": model.checkpoint is not None,
        "threshold": needs_unseen(getattr(model, "threshold", 0.5)),
    }
    odd = [name for name, there in found.items() if there]
    if odd:
        msg = (
            f"privacy: expected a model without {quoted(odd)}, which look at rows beside the steps "
            "that are counted. Leave that out."
        )
        raise ConfigurationError(msg)
    target = getattr(model, "target_", None)
    if target is not None and (target.loss == "cox" or target.needs_settling):
        msg = (
            "privacy: expected a target whose loss is that of each row by itself, got "
            f"{type(target).__name__}, which compares rows or learns from them afterwards."
        )
        raise ConfigurationError(msg)


def private_steps(
    model: Any, rows: TrainingRows, data: Rows, settings: TrainingSettings
) -> PrivateSteps:
    """Return the steps by which a built model learns from rows; a row without group is a patient.

    Rows of a patient count as one.
    """
    check_private(model)
    privacy, patients = settings.privacy, _patients(rows)
    n_patients = len(np.unique(patients))
    if privacy.sites == 1 and privacy.delta * n_patients >= 1.0:
        msg = (
            f"delta: expected less than one in {n_patients} patients, got {privacy.delta:g}, which "
            "would allow to publish one of them."
        )
        raise ConfigurationError(msg)
    loss = row_loss(model.target_.loss, settings)
    return PrivateSteps(
        model.network_,
        data,
        patients,
        loss=model.network_.row_loss(loss),
        settings=settings,
        weights=LossWeights.of(settings, model.network_.blended),
    )


def learn_privately(
    model: Any, rows: TrainingRows, data: Rows, settings: TrainingSettings
) -> list[dict[str, float]]:
    """Let a built model learn by private steps, and note what that spent as ``privacy_``."""
    history = private_steps(model, rows, data, settings).run(settings.max_epochs)
    n_steps = settings.privacy.steps_of(settings.max_epochs)
    model.privacy_ = settings.privacy.account(n_steps, by_patient=rows.groups is not None)
    return history


def _patients(rows: TrainingRows) -> NDArray[Any]:
    """Return the patient of each row."""
    return np.arange(len(rows)) if rows.groups is None else np.asarray(rows.groups)
