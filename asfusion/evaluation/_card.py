"""Model cards: the numbers of one evaluation, and what only people can say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asfusion._checks import quoted, suggestion
from asfusion._files import write_file
from asfusion.evaluation._labels import score_label, show_interval, show_number
from asfusion.evaluation._report_page import ReportPage
from asfusion.evaluation._reported import shown_thresholds
from asfusion.evaluation.intervals import Interval
from asfusion.exceptions import ConfigurationError
from asfusion.show import page

NOT_PROVIDED = "not provided"
_HIDDEN = "not shown"
_SOURCES = {
    "given": "given to the evaluation",
    "model": "stored in the model",
    "folds": "stored in the model of each fold",
    "default": "the default",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")

Row = tuple[str, ...]

# What a card asks of people, by section: identifier and what is meant.
FIELDS = {
    "Model": {
        "name": "Name and version",
        "owner": "Who made it, and how to reach them",
        "description": "Kind of model, inputs and output",
        "licence": "Licence, and how to cite it",
    },
    "Use": {
        "intended_use": "What it is for",
        "intended_users": "By whom, for which patients",
        "out_of_scope": "What it must not be used for",
    },
    "Data": {
        "training_data": "Data it learned from",
        "evaluation_data": "Data it was judged on, and how they relate to the former",
        "preprocessing": "Preparation and exclusions",
        "reference_standard": "How the truth was established",
    },
    "Considerations": {
        "ethics": "Ethics, consent and data protection",
        "limitations": "Known limitations and failures",
        "recommendations": "What users should watch, and when to stop",
    },
}


@dataclass(frozen=True)
class Section:
    """A titled table of texts.

    Parameters
    ----------
    title : str
        The heading.
    header : tuple of str
        Names of the columns.
    rows : tuple of tuple of str
        The cells.
    """

    title: str
    header: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True, repr=False)
class Sheet(page.Page):
    """A card or a checklist: sections of texts that print as Markdown and show as HTML.

    Parameters
    ----------
    title : str
        The first heading.
    sections : tuple of Section
        The tables.
    notes : tuple of str
        What follows them.
    """

    title: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    def to_markdown(self, path: str | os.PathLike[str]) -> Path:
        """Write the sheet as a Markdown file.

        Parameters
        ----------
        path : path
            The file; one that is there is replaced.

        Returns
        -------
        Path
            The file.
        """
        write_file(Path(path), str(self).encode("utf-8"))
        return Path(path)

    def _title(self) -> str:
        return self.title

    def _text(self) -> str:
        """Return the sheet as Markdown."""
        lines = [f"# {_escaped(self.title)}"]
        for section in self.sections:
            lines += ["", f"## {_escaped(section.title)}", "", _line(section.header)]
            lines += ["|" + " --- |" * len(section.header), *map(_line, section.rows)]
        return "\n".join([*lines, *(f"\n{_escaped(note)}" for note in self.notes)]) + "\n"

    def _body(self) -> list[str]:
        parts = [page.heading(self.title, 1)]
        for section in self.sections:
            cells = page.table(section.header, section.rows)
            parts += [page.heading(section.title), f'<div class="prose">{cells}</div>']
        return [*parts, *(page.paragraph(note, "note") for note in self.notes)]


def make_card(report: ReportPage, provided: Mapping[str, str]) -> Sheet:
    """Return the model card of a report."""
    known = [name for fields in FIELDS.values() for name in fields]
    check_texts(provided, known, "model_card")
    told = [
        Section(title, ("", "told by its makers"), _told(fields, provided))
        for title, fields in FIELDS.items()
    ]
    measured = [_evaluation(report), _scores(report), *_parts(report)]
    origin = (
        "Every number in the tables of this evaluation was computed by it; other texts are "
        "their authors'."
    )
    sections = (*told[:3], *measured, *told[3:])
    return Sheet("Model card", sections, (origin, page.RESEARCH_TOOL))


def check_texts(provided: Mapping[str, str], known: Sequence[str], who: str) -> None:
    """Raise unless every name is known and every value a text."""
    unknown = [name for name in provided if name not in known]
    if unknown:
        hint = suggestion(unknown[0], known)
        msg = f"{who}: expected some of {quoted(known, 60)}, got {quoted(unknown)}.{hint}"
        raise ConfigurationError(msg)
    wrong = [name for name, text in provided.items() if not isinstance(text, str)]
    if wrong:
        raise ConfigurationError(f"{who}: expected a text for {quoted(wrong)}, got another type.")


def size_of(report: ReportPage) -> str:
    """Return how many rows and patients were judged."""
    patients = f", {report.n_groups} patients" if report.is_grouped else ", patients not given"
    return f"{report.n_rows} rows{patients}"


def threshold_of(report: ReportPage) -> str:
    """Return the threshold and where it comes from."""
    return f"{' to '.join(shown_thresholds(report, 4))}, {_SOURCES[str(report.threshold_source)]}"


def intervals_of(report: ReportPage) -> str:
    """Return how intervals were made."""
    unit = "patients" if report.is_grouped else "rows"
    return (
        f"level {report.confidence:g}; percentiles of {report.n_bootstrap} bootstrap replicates of "
        f"{unit}, seed {report.seed}"
    )


def scores_of(report: ReportPage) -> str:
    """Return all scores with intervals in one text."""
    return "; ".join(
        f"{score_label(name)} {show_number(score.estimate)} ({show_interval(score)})"
        for name, score in report.scores.items()
    )


def _told(fields: Mapping[str, str], provided: Mapping[str, str]) -> tuple[Row, ...]:
    return tuple((text, provided.get(name, NOT_PROVIDED)) for name, text in fields.items())


def _evaluation(report: ReportPage) -> Section:
    rows = [("Task", report.task), ("Judged", size_of(report))]
    shares = zip(report.classes, report.shares, strict=False)
    rows += [(f"Share of class {name}", show_number(share)) for name, share in shares]
    if report.threshold is not None:
        rows.append(("Threshold", threshold_of(report)))
    if report.privacy:
        rows.append(("Privacy audit", report.privacy))
    rows += [("Intervals", intervals_of(report)), ("Computed by", f"asfusion {report.version}")]
    return Section("This evaluation", ("", "as judged"), tuple(rows))


def _scores(report: ReportPage) -> Section:
    rows = tuple((score_label(name), *_numbers(score)) for name, score in report.scores.items())
    return Section("Performance", ("score", "estimate", "interval"), rows)


def _parts(report: ReportPage) -> list[Section]:
    """Return scores by modalities present and by subgroup."""
    primary = score_label(report.primary)
    sections = []
    if report.patterns:
        rows = tuple(
            (
                " + ".join(pattern.present) or "none",
                _HIDDEN if pattern.n_rows is None else str(pattern.n_rows),
                *_numbers(pattern.score),
            )
            for pattern in report.patterns
        )
        header = ("modalities present", "rows", primary, "interval")
        sections.append(Section("Performance by modalities present", header, rows))
    if report.subgroups is None:
        nothing = (("Subgroups", NOT_PROVIDED),)
        return [*sections, Section("Performance by subgroup", ("", ""), nothing)]
    found = []
    for part in report.subgroups.subgroups:
        n_rows = _HIDDEN if part.n_rows is None else str(part.n_rows)
        for name, score in part.scores.items():
            gap = part.gaps.get(name)
            between = None if gap is None else Interval(gap.estimate, gap.low, gap.high)
            place = f"{part.factor} = {part.level}"
            found.append((place, n_rows, score_label(name), *_numbers(score), *_numbers(between)))
        if not part.scores:
            found.append((f"{part.factor} = {part.level}", n_rows, "-", "-", "-", "-", "-"))
    columns = ("subgroup", "rows", "score", "estimate", "interval", "gap to the rest", "interval")
    return [*sections, Section("Performance by subgroup", columns, tuple(found))]


def _numbers(score: Interval | None) -> Row:
    return ("-", "-") if score is None else (show_number(score.estimate), show_interval(score))


def _line(cells: Row) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Return a text in which Markdown sees no mark-up, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
