"""From the name of a test vector to the library: one function for each `score`.

Each takes the vector's inputs as keywords and returns what its `expected` holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asfusion import clinical
from asfusion.clinical import coherence, units

# Other spellings of the names that the library takes.
_FEATURES = {
    "acute_anterior_uveitis": "uveitis",
    "anterior_uveitis": "uveitis",
    "b27": "hla_b27",
    "crohn": "ibd",
    "crohn_colitis": "ibd",
    "crohn_uc": "ibd",
    "crp": "elevated_crp",
    "enthesitis": "heel_enthesitis",
    "enthesitis_heel": "heel_enthesitis",
    "family_history_spa": "family_history",
    "good_nsaid_response": "nsaid_response",
    "good_response_nsaids": "nsaid_response",
    "hla_b27_positive": "hla_b27",
    "ibp": "inflammatory_back_pain",
    "inflammatory_bowel_disease": "ibd",
    "mri": "mri_axspa",
    "nsaids": "nsaid_response",
    "peripheral_arthritis": "arthritis",
    "raised_crp": "elevated_crp",
    "xray": "xray_sacroiliitis",
}


def _plain(value: Any) -> Any:
    """Return a result as JSON holds it: a missing number is null."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _as_json(function: Callable[..., Any]) -> Callable[..., Any]:
    def adapter(**inputs: Any) -> Any:
        return _plain(function(**inputs))

    return adapter


def _features(names: Iterable[str], known: Iterable[str]) -> list[str]:
    known = set(known)
    out = []
    for name in names:
        other = _FEATURES.get(name, name)
        if name == "arthritis" and "peripheral_arthritis" in known:
            other = "peripheral_arthritis"
        out.append(name if name in known else other)
    return out


def _basdai_not_simple_mean(q: list[float], wrong_mean_of_six: float) -> float:
    score = clinical.basdai(*q)
    assert abs(score - wrong_mean_of_six) > 1e-6
    return float(score)


def _basmi(function: Callable[..., clinical.Basmi]) -> Callable[..., dict[str, Any]]:
    def adapter(**inputs: Any) -> dict[str, Any]:
        total, components = function(**inputs)
        return {"total": total, "components": list(components.values())}

    return adapter


def _basmi_10step(**inputs: Any) -> dict[str, Any]:
    total, components = clinical.basmi_10step(**inputs)
    return {"total": total, "components": components}


def _basmi_linear_lr(**inputs: Any) -> dict[str, Any]:
    return {"total": clinical.basmi_linear_lr(**inputs).total}


def _asdas_crp(crp_mg_l: float | None, **answers: Any) -> Any:
    return clinical.asdas_crp(**answers, crp=crp_mg_l)


def _asdas_crp_unit_trap(crp_mg_dl: float, **answers: Any) -> Any:
    return clinical.asdas_crp(**answers, crp=crp_mg_dl, crp_unit="mg/dL")


def _asdas_response(baseline: float, followup: float) -> list[str] | None:
    response = clinical.asdas_response(baseline, followup)._asdict()
    if None in response.values():
        return None
    return [name for name, value in response.items() if value]


def _msasss(corners: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return clinical.msasss(corners, **options)._asdict()


def _msasss_missing(corners: Mapping[str, Any], rule: str = "") -> dict[str, Any]:
    return _msasss(corners, missing="segment_mean")


def _asas_axspa_2009(features: list[str], **inputs: Any) -> dict[str, Any]:
    found = clinical.asas_axspa_2009(**inputs, features=_features(features, clinical.SPA_FEATURES))
    arm = None if found.arm == "none" else found.arm
    return {"axspa": found.axspa, "arm": arm, "entry": found.entry}


def _asas_spartan(present: list[str]) -> dict[str, Any]:
    names = _features(present, clinical.ASAS_SPARTAN_WEIGHTS)
    return clinical.asas_spartan_2025_proposal(names)._asdict()


def _asas_hi(n_agree: int, n_missing_or_na: int = 0) -> Any:
    return clinical.asas_hi(n_agree, n_missing_or_na, missing="prorate")


def _prs_log_or_sum(snps: list[Mapping[str, Any]]) -> float:
    return float(
        clinical.risk_score_log_odds(
            [snp["dosage"] for snp in snps], [snp["odds_ratio"] for snp in snps]
        )
    )


def _crp_units(**crp: float) -> Any:
    """Convert the one CRP given, by the unit in its name."""
    names = {"mg_dl": "mg/dL", "mg_l": "mg/L", "g_l": "g/L", "nmol_l": "nmol/L", "ug_ml": "ug/mL"}
    ((name, value),) = crp.items()
    return units.to_mg_per_l(value, names[name])


def _binary_test(**inputs: float) -> dict[str, float]:
    found = coherence.binary_test(**inputs)
    return {"auc": found.auc, "ppv": found.ppv, "npv": found.npv}


def _metric_coherence(**inputs: Any) -> dict[str, Any]:
    """Judge figures; where there is nothing to contradict, say what follows from them."""
    if set(inputs) == {"sensitivity", "specificity", "prevalence"}:
        found = coherence.binary_test(**inputs)
        return {"ppv": found.ppv, "npv": found.npv, "accuracy": found.accuracy}
    return {"coherent": coherence.check_metric_coherence(**inputs).coherent}


def _wilson_ci(**inputs: Any) -> list[float]:
    return list(coherence.wilson_ci(**inputs))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "asas20": clinical.asas20,
    "asas40": clinical.asas40,
    "asas5of6": clinical.asas5of6,
    "asas_axspa_2009": _asas_axspa_2009,
    "asas_hi": _asas_hi,
    "asas_hi_state": clinical.asas_hi_state,
    "asas_partial_remission": clinical.asas_partial_remission,
    "asas_positive_mri_count_rule": clinical.asas_positive_mri_count_rule,
    "asas_spartan_2025_proposal": _asas_spartan,
    "asdas_crp": _asdas_crp,
    "asdas_crp_minimum": lambda: clinical.ASDAS_CRP_MINIMUM,
    "asdas_crp_unit_trap": _asdas_crp_unit_trap,
    "asdas_esr": clinical.asdas_esr,
    "asdas_response": _asdas_response,
    "asdas_state": clinical.asdas_state,
    "basdai": clinical.basdai,
    "basdai50": clinical.basdai50,
    "basdai_active": clinical.basdai_active,
    "basdai_not_simple_mean": _basdai_not_simple_mean,
    "basfi": clinical.basfi,
    "basmi_10step": _basmi_10step,
    "basmi_2step": _basmi(clinical.basmi_2step),
    "basmi_linear": _basmi(clinical.basmi_linear),
    "basmi_linear_lr": _basmi_linear_lr,
    "basri_spine": clinical.basri_spine,
    "basri_total": clinical.basri_total,
    "berlin_sij": clinical.berlin_sij,
    "binary_test": _binary_test,
    "cohen_kappa": coherence.cohen_kappa,
    "crp_units": _crp_units,
    "f1": coherence.f1,
    "hla_b27_or": clinical.odds_ratio,
    "ibp_asas": clinical.ibp_asas,
    "ibp_berlin": clinical.ibp_berlin,
    "ibp_calin": clinical.ibp_calin,
    "metric_coherence": _metric_coherence,
    "mny_as": clinical.mny_as,
    "mny_radiographic": clinical.mny_radiographic,
    "mri_active_typical_2021": clinical.mri_active_typical_2021,
    "mri_structural_typical_2021": clinical.mri_structural_typical_2021,
    "msasss": _msasss,
    "msasss_missing": _msasss_missing,
    "msasss_progression": clinical.msasss_progression,
    "net_benefit": coherence.net_benefit,
    "net_benefit_treat_all": coherence.net_benefit_treat_all,
    "prs_log_or_sum": _prs_log_or_sum,
    "sparcc_sij_inflammation": clinical.sparcc_sij_inflammation,
    "sparcc_sss": clinical.sparcc_sss,
    "wilson_ci": _wilson_ci,
}

ADAPTERS = {name: _as_json(function) for name, function in _FUNCTIONS.items()}
