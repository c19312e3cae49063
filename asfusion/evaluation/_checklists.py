"""Reporting checklists: identifiers of items, and in our own words what they are about.

The published texts are what counts; they are not repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping

from asfusion._checks import check_choice
from asfusion.evaluation._card import (
    NOT_PROVIDED,
    Section,
    Sheet,
    check_texts,
    intervals_of,
    scores_of,
    size_of,
    threshold_of,
)
from asfusion.evaluation._labels import score_label
from asfusion.evaluation._report_page import ReportPage
from asfusion.show import page

_TRIPOD_AI = {
    "Title and abstract": {
        "1": "Title names model, population, outcome",
        "2": "Structured summary",
    },
    "Introduction": {
        "3a": "Why a model, and what is there already",
        "3b": "Patients, purpose and users",
        "3c": "Known inequalities between groups",
        "4": "Aims: to develop, to evaluate, or both",
    },
    "Methods": {
        "5a": "Where data come from",
        "5b": "When they were collected",
        "6a": "Kind, number and place of centres",
        "6b": "Who was eligible",
        "6c": "Treatments, and how they were handled",
        "7": "Preparation and quality of the data",
        "8a": "The outcome, and when it is known",
        "8b": "Who judged it, where judgement is needed",
        "8c": "What those who judged it did not know",
        "9a": "Why these predictors",
        "9b": "Predictors, and how they are measured",
        "9c": "Who judged them, where judgement is needed",
        "10": "Reason for the sample size",
        "11": "Missing values",
        "12a": "Which data for what",
        "12b": "How predictors enter",
        "12c": "Kind of model, tuning, internal validation",
        "12d": "Differences between centres, as analysed",
        "12e": "Measures of performance",
        "12f": "Updates of the model",
        "12g": "How predictions were made in the evaluation",
        "13": "Rare classes, and what was done about them",
        "14": "What was done for fairness",
        "15": "Output of the model, and thresholds",
        "16": "How development and evaluation differ",
        "17": "Ethics approval and consent",
    },
    "Open science": {
        "18a": "Funding",
        "18b": "Conflicts of interest",
        "18c": "Protocol",
        "18d": "Registration",
        "18e": "Access to data",
        "18f": "Access to code",
    },
    "Patients and public": {"19": "How they were involved"},
    "Results": {
        "20a": "Flow of participants, with and without outcome",
        "20b": "Who they are, by centre",
        "20c": "Predictors in development against evaluation",
        "21": "Participants and events in each analysis",
        "22": "The model in full, for use by others",
        "23a": "Performance with intervals, also of subgroups",
        "23b": "Performance between centres",
        "24": "Results of updates",
    },
    "Discussion": {
        "25": "What it means, fairness included",
        "26": "Limitations",
        "27a": "Poor or absent inputs in use",
        "27b": "What users must do and know",
        "27c": "What comes next, and for whom it may hold",
    },
}

_CLAIM = {
    "Title and abstract": {"1": "Title names the method", "2": "Structured summary"},
    "Introduction": {"3": "Background and clinical role", "4": "Aims and hypotheses"},
    "Methods: design": {"5": "Before or after the fact", "6": "Goal of the study"},
    "Methods: data": {
        "7": "Where data come from",
        "8": "Who was included, and who not",
        "9": "Preparation of the data",
        "10": "Selection of parts of the data",
        "11": "Removal of identities",
        "12": "Missing values",
        "13": "How images were acquired",
    },
    "Methods: reference standard": {
        "14": "How the truth was established",
        "15": "Why this way",
        "16": "Who annotated",
        "17": "How the test set was annotated",
        "18": "Agreement within and between readers",
    },
    "Methods: partitions": {
        "19": "How rows were assigned",
        "20": "What no two partitions share",
        "21": "Intended size of the test set",
    },
    "Methods: model": {
        "22": "Architecture, inputs, outputs",
        "23": "Software",
        "24": "Initial weights",
    },
    "Methods: training": {
        "25": "How it was trained",
        "26": "How the final model was chosen",
        "27": "Ensembles",
    },
    "Methods: evaluation": {
        "28": "Measures of performance",
        "29": "Uncertainty and tests",
        "30": "Robustness",
        "31": "Explanations",
        "32": "Internal evaluation",
        "33": "External evaluation",
        "34": "Registration of a trial",
    },
    "Results": {
        "35": "Flow of patients and examinations",
        "36": "Who they are, by partition",
        "37": "Performance on each partition",
        "38": "Estimates with their precision",
        "39": "Failures, looked at",
    },
    "Discussion": {"40": "Limitations", "41": "Meaning for practice"},
    "Other": {"42": "Protocol", "43": "Access to software, model, data", "44": "Funding"},
}

_LISTS = {
    "tripod+ai": ("TRIPOD+AI", _TRIPOD_AI, "https://doi.org/10.1136/bmj-2023-078378"),
    "claim": ("CLAIM, 2024 update", _CLAIM, "https://doi.org/10.1148/ryai.240300"),
}
_CENTRES = ("site", "centre", "center", "hospital")


def make_checklist(report: ReportPage, name: str, provided: Mapping[str, str]) -> Sheet:
    """Return a checklist, filled in with what a report knows and what is provided."""
    title, sections, source = _LISTS[check_choice(name, "name", list(_LISTS))]
    items = [item for part in sections.values() for item in part]
    check_texts(provided, items, f"checklist {name!r}")
    known = (_tripod_answers if name == "tripod+ai" else _claim_answers)(report)
    tables = tuple(
        Section(
            part,
            ("item", "about", "answer"),
            tuple((item, about, _answer(item, known, provided)) for item, about in texts.items()),
        )
        for part, texts in sections.items()
    )
    marked = (
        "Answers marked (measured) come from this evaluation alone and may be a part of what an "
        "item asks for."
    )
    notes = (
        f"Items of {title}, told in other words; the published text counts: {source}",
        marked,
        page.RESEARCH_TOOL,
    )
    return Sheet(f"Checklist: {title}", tables, notes)


def _answer(item: str, known: Mapping[str, str], provided: Mapping[str, str]) -> str:
    texts = [provided[item]] if item in provided else []
    if item in known:
        texts.append(f"(measured) {known[item]}")
    return " ".join(texts) or NOT_PROVIDED


def _tripod_answers(report: ReportPage) -> dict[str, str]:
    answers = {
        "12e": f"{_names(report)}. Intervals: {intervals_of(report)}.",
        "21": f"In this evaluation: {_events(report)}.",
        "23a": scores_of(report) + ".",
    }
    if report.threshold is not None:
        answers["15"] = f"Threshold {threshold_of(report)}."
    audit = report.subgroups
    if audit is not None:
        factors = list(dict.fromkeys(part.factor for part in audit.subgroups))
        answers["14"] = f"Scores were compared by {', '.join(factors)}."
        answers["23a"] += f" By subgroup: {audit.verdict}"
        centres = [factor for factor in factors if factor.lower() in _CENTRES]
        if centres:
            answers["23b"] = f"See the subgroups by {', '.join(centres)}."
    if report.patterns:
        answers["27a"] = "Performance is given by the modalities that a row has."
    return answers


def _claim_answers(report: ReportPage) -> dict[str, str]:
    answers = {
        "23": f"Evaluated with asfusion {report.version}.",
        "28": f"{_names(report)}.",
        "29": f"Intervals: {intervals_of(report)}.",
        "35": f"In this evaluation: {size_of(report)}.",
        "36": f"In this evaluation: {_events(report)}.",
        "38": scores_of(report) + ".",
    }
    if report.patterns or report.subgroups is not None:
        parts = ["modalities present"] if report.patterns else []
        audit = report.subgroups
        parts += [] if audit is None else dict.fromkeys(p.factor for p in audit.subgroups)
        answers["30"] = f"Performance is given by {', '.join(parts)}."
    return answers


def _names(report: ReportPage) -> str:
    return ", ".join(score_label(name) for name in report.scores)


def _events(report: ReportPage) -> str:
    shares = zip(report.classes, report.shares, strict=False)
    return "; ".join([size_of(report), *(f"share of class {n} {share:.3f}" for n, share in shares)])
