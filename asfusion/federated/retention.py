"""Which patients a saved model has learned from, known only to who keeps the key."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from asfusion._door import public
from asfusion._frames import group_labels
from asfusion.exceptions import InputError
from asfusion.persistence import load

_CHECK, _PATIENT = b"asfusion.patients/1", b"asfusion.patient/1:"
_LEAST_BYTES = 16


@public
def remember_patients(model: Any, patient_ids: Any, key: bytes) -> Any:
    """Let a fitted model, and what it is saved as, know whom it has learned from.

    It keeps a keyed hash (HMAC-SHA-256 [1]_) of each patient: without the key none can be tried,
    with it `was_learned_from` answers whether someone has to be erased. The key is kept nowhere;
    keep it where patients' data are, such as ``secrets.token_bytes(32)`` in a file. How many
    patients there are shows without it.

    Parameters
    ----------
    model : estimator
        Fitted. A later `fit` forgets its patients.
    patient_ids : array
        Identifiers of patients, once or once per row: text, or whole numbers. Spaces around them
        do not count.
    key : bytes
        At least 16 bytes. Several hospitals may each add their patients by a key of their own.

    Returns
    -------
    estimator
        The same model.

    Raises
    ------
    InputError
        If an identifier is missing, or the key is too short.

    References
    ----------
    .. [1] Krawczyk, Bellare, Canetti, "HMAC: Keyed-Hashing for Message Authentication", RFC 2104.
       https://doi.org/10.17487/RFC2104

    Examples
    --------
    >>> import secrets, asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(60, modalities=["labs"])
    >>> model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])}, verbose=0)
    >>> model = model.fit(cohort.X, cohort.y, groups=cohort.groups)
    >>> key = secrets.token_bytes(32)
    >>> model = af.federated.remember_patients(model, cohort.groups, key)
    >>> af.federated.was_learned_from(model, [cohort.groups[0], "someone else"], key)
    array([ True, False])
    """
    check_is_fitted(model)
    digests = _digests(patient_ids, _checked(key))
    check = _keyed(key, _CHECK).hex()
    registers = dict(getattr(model, "patients_", {}))
    known = [registers[check]] if check in registers else []
    # Sorted, so that the order of rows is not kept.
    registers[check] = np.unique(np.concatenate([digests, *known]), axis=0)
    model.patients_ = registers
    return model


@public
def was_learned_from(model: Any, patient_ids: Any, key: bytes) -> NDArray[np.bool_]:
    """Return whether a model, or a saved one, has learned from each patient.

    Parameters
    ----------
    model : estimator or path
        One that was told of its patients by `remember_patients`, or where it is saved.
    patient_ids : array of n_patients
        Identifiers as they were given then.
    key : bytes
        The same key.

    Returns
    -------
    ndarray of shape (n_patients,), bool
        True where the model has to be fitted anew if the patient is to be erased.

    Raises
    ------
    InputError
        If the model knows of no patients, or none of them by this key.

    Examples
    --------
    >>> import asfusion as af
    >>> cohort = af.datasets.make_axspa_cohort(60, modalities=["labs"])
    >>> model = af.EarlyFusionClassifier({"labs": af.TabularEncoder(["crp", "esr"])}, verbose=0)
    >>> model = model.fit(cohort.X, cohort.y)
    >>> key = b"kept in the hospital, not beside"
    >>> model = af.federated.remember_patients(model, [101, 102], key)
    >>> af.federated.was_learned_from(model, ["102", 103], key)
    array([ True, False])
    """
    fitted = load(model) if isinstance(model, str | Path) else model
    registers = getattr(fitted, "patients_", None)
    if not registers:
        msg = (
            "was_learned_from: expected a model that was told of its patients, got one that was "
            "not. Call remember_patients before it is saved."
        )
        raise InputError(msg)
    found = registers.get(_keyed(_checked(key), _CHECK).hex())
    if found is None:
        msg = (
            "key: expected the one by which the model was told of its patients, got another. With "
            "a wrong key everyone would seem unknown."
        )
        raise InputError(msg)
    known = {row.tobytes() for row in np.asarray(found, dtype=np.uint8)}
    asked = _digests(patient_ids, key)
    return np.array([row.tobytes() in known for row in asked], dtype=bool)


def _digests(patient_ids: Any, key: bytes) -> NDArray[np.uint8]:
    """Return the keyed hash (n, 32) of each identifier."""
    if isinstance(patient_ids, str | bytes):
        raise InputError("patient_ids: expected several identifiers, got a single one.")
    given = patient_ids if hasattr(patient_ids, "__len__") else list(patient_ids)
    if not hasattr(given, "dtype") and not hasattr(given, "to_numpy"):
        given = np.array(list(given), dtype=object)  # numbers beside text stay numbers
    labels = group_labels(given, len(given)).tolist()
    hashed = [_keyed(key, _PATIENT + _text_of(label)) for label in labels]
    return np.frombuffer(b"".join(hashed), dtype=np.uint8).reshape(-1, hashlib.sha256().digest_size)


def _text_of(label: Any) -> bytes:
    """Return an identifier as bytes, the same for a number however its column holds it."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    text = unicodedata.normalize("NFC", str(label)).strip()
    if not text or isinstance(label, bool | bytes | float):
        kind = "an empty one" if not text else f"one of type {type(label).__name__}"
        raise InputError(f"patient_ids: expected text or whole numbers, got {kind}.")
    return text.encode()


def _keyed(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")


def _checked(key: Any) -> bytes:
    if not isinstance(key, bytes) or len(key) < _LEAST_BYTES:
        got = f"{len(key)}" if isinstance(key, bytes) else type(key).__name__
        msg = (
            f"key: expected at least {_LEAST_BYTES} bytes, such as secrets.token_bytes(32), got "
            f"{got}."
        )
        raise InputError(msg)
    return key
