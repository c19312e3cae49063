"""The clinician's page, as Streamlit runs it: once from top to bottom for each thing touched."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asfusion._later import streamlit as st
from asfusion._tables import read_table
from asfusion.exceptions import AsfusionError
from asfusion.explanation._attribution import PRESENCE
from asfusion.explanation._sentences import concluded, heard, moved, plain
from asfusion.persistence import load
from asfusion.serving._answering import Answering
from asfusion.serving._fields import Field
from asfusion.serving._page import SETTINGS
from asfusion.serving._rows import Rows, as_told
from asfusion.show.page import page

_NOT_A_DEVICE = (
    "Research, not a medical device. Do not base a decision about a patient on this page."
)
_STEPS = 25
_UNKNOWN = "not known"
_AT_ALL = "That it is known at all"
_FILMS = ["png", "jpg", "jpeg", "tif", "tiff", "dcm", "dicom"]


def main() -> None:
    """Draw the page."""
    st.set_page_config("asfusion", layout="wide", initial_sidebar_state="auto")
    st.warning(_NOT_A_DEVICE)
    st.sidebar.caption(_NOT_A_DEVICE)  # on a phone the form covers the page
    settings = json.loads(os.environ[SETTINGS])
    served = _served(settings["path"], json.dumps(settings["units"]), settings["background"])
    st.title("One patient, one prediction")
    st.caption(f"Model {served.digest[:12]}, columns {len(served.fields)}. Nothing is stored.")
    patient = _chosen(settings["patients"], served.fields)
    cells = _entered(served, patient, settings["finder"])
    if all(cell is None for cell in cells.values()):
        st.info("Enter at least one value, a note or a film.")
        return
    rows = Rows({name: [cell] for name, cell in cells.items()}, [])
    try:
        _shown(served, rows, cells)
    except AsfusionError as error:
        st.error(plain(as_told(error)))
    if settings["report"]:
        _limits(Path(settings["report"]))


def _served(path: str, units: str, background: str | None) -> Answering:
    """Return the model, read once for all who look."""
    found: Answering = st.cache_resource(show_spinner="Reading the model ...")(_read)(
        path, units, background
    )
    return found


def _read(path: str, units: str, background: str | None) -> Answering:
    rows = None if background is None else read_table(Path(background))
    return Answering.read(Path(path), json.loads(units), rows)


def _finder(path: str) -> Any:
    return st.cache_resource(show_spinner=False)(load)(path)


# -- entering ---------------------------------------------------------------------------------


def _chosen(patients: str | None, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the cells of the patient that is picked from the list, if there is one."""
    if patients is None:
        return {}
    table = read_table(Path(patients), [field.name for field in fields if field.levels])
    place = st.sidebar.number_input(
        f"Patient, 1 to {len(table)}", 1, len(table), 1, help="By the row of the list."
    )
    row = table.row(int(place) - 1, named=True)
    return {"": int(place), **row}


def _entered(served: Answering, patient: Mapping[str, Any], finder: str | None) -> dict[str, Any]:
    """Return the cells that stand in the form, those of the list where nothing was changed."""
    cells: dict[str, Any] = {}
    with st.sidebar:
        for modality in served.modalities:
            own = [field for field in served.fields if field.modality == modality]
            with st.expander(plain(modality), expanded=len(own) < 12):
                for field in own:
                    cells[field.name] = _ask(field, patient, finder)
    return {field.name: cells.get(field.name) for field in served.fields}


def _ask(field: Field, patient: Mapping[str, Any], finder: str | None) -> Any:
    known = patient.get(field.name)
    key = f"{field.name} {patient.get('', '')}"  # another patient, another form
    label = heard(_label(field.name, {field.name: field.unit} if field.unit else {}))
    if field.kind in ("number", "dosage"):
        value = None if known is None else float(known)
        return st.number_input(label, value=value, key=key, placeholder=_UNKNOWN, format="%g")
    if field.kind == "boolean":
        return _one_of(label, {"yes": True, "no": False}, known, key)
    if field.kind == "date":
        return st.date_input(label, value=known, key=key)
    if field.kind == "category":
        return _one_of(label, {level: level for level in field.levels}, known, key)
    if field.kind == "text":
        return st.text_area(label, value=known or "", key=key, height=160) or None
    if field.kind == "image":
        return _film(label, known, key, finder)
    return None


def _one_of(label: str, choices: Mapping[str, Any], known: Any, key: str) -> Any:
    names = [_UNKNOWN, *choices]
    at = next((i for i, name in enumerate(names[1:], 1) if choices[name] == known), 0)
    return choices.get(st.selectbox(label, names, index=at, key=key))


def _film(label: str, known: Any, key: str, finder: str | None) -> Any:
    """Return a film: uploaded, photographed, or of the list, whose paths its owner wrote."""
    sent = st.file_uploader(label, type=_FILMS, key=key)
    if finder is not None and sent is None:
        sent = st.camera_input(f"or photograph it: {label}", key=f"camera {key}")
        if sent is not None:
            return _flattened(sent.getvalue(), finder)
    if sent is not None:
        return sent.getvalue()
    if known is None:
        return None
    try:
        film = Path(str(known)).read_bytes()
    except OSError:
        st.error("The film that the list names cannot be read: without it.")
        return None
    st.caption(plain(f"From the list: {Path(str(known)).name}"))
    return film


def _flattened(photograph: bytes, finder: str) -> Any:
    from asfusion.imaging.photographs import rectify

    film = rectify(photograph, _finder(finder))
    st.image(film[0], caption="The film that was found on the photograph")
    return film[0]


# -- showing ----------------------------------------------------------------------------------


def _shown(served: Answering, rows: Rows, cells: Mapping[str, Any]) -> None:
    with st.spinner("Predicting ..."):
        answer = served.ask([rows])[0][0]
    labels = [str(label) for label in getattr(served.model, "classes_", [])]
    for sentence in concluded(answer, labels):
        st.markdown(f"#### {plain(sentence)}")
    for name, share in answer.get("probabilities", {}).items():
        st.progress(min(1.0, max(0.0, share)), text=plain(f"{name}: {100 * share:.0f} %"))
    why, what_if = st.tabs(["Why", "What if"])
    with why:
        _why(served, rows, cells)
    with what_if:
        st.fragment(_what_if)(served, rows, cells)  # another range asks nothing else again


def _why(served: Answering, rows: Rows, cells: Mapping[str, Any]) -> None:
    if not served.explains:
        st.info("A model within another one is not taken apart: serve the inner one for that.")
        return
    with st.spinner("Asking what moved it ..."):
        found, told = served.explained(rows)
    whole = told["rows"][0]
    st.markdown(
        f"**{plain(whole['output'])}**: {100 * whole['base']:.0f} % without anything known of the "
        f"patient, {100 * whole['prediction']:.0f} % with what was entered."
    )
    _listed(moved(whole["modalities"], {}, {}))
    for modality, parts in whole["parts"].items():
        st.markdown(f"**Within {plain(modality)}**")
        named = {_AT_ALL if part == PRESENCE else part: value for part, value in parts.items()}
        _listed(moved(named, cells, served.units))
    if found is None:
        st.caption("Of an exported file no more is known: serve the saved model for that.")
        return
    if served.background is None:
        st.caption("Columns and words are taken apart where the page has --background rows.")
        return
    st.pyplot(found.plot_patient(0))
    kept = page(found._title(), found._whole())
    st.download_button("Keep this as a page", kept, "prediction.html", "text/html")


def _listed(sentences: Sequence[str]) -> None:
    st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences))


def _what_if(served: Answering, rows: Rows, cells: Mapping[str, Any]) -> None:
    numbers = [f.name for f in served.fields if f.kind == "number" and cells[f.name] is not None]
    if not numbers:
        st.info("Enter a number on the left to see what would follow if it were another.")
        return
    name = st.selectbox("If this were another value", numbers, format_func=plain)
    value = float(cells[name])
    span = max(abs(value), 1.0)
    ends = (value - span, value + span)
    low, high = st.slider("From, to", value - 2 * span, value + 2 * span, ends)
    grid = np.linspace(low, high, _STEPS).tolist()
    several = {other: column * _STEPS for other, column in rows.columns.items()} | {name: grid}
    said = served.ask([Rows(several, [])])[0]
    what, values = _last(said)
    st.line_chart(
        {"x": grid, "y": values}, x="x", y="y", x_label=_label(name, served.units), y_label=what
    )
    st.caption(
        f"Now {value:g}. The model's answer, all else equal: not what would become of the patient."
    )


def _last(said: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """Return the probabilities of the last class, or the numbers that are predicted, by name."""
    classes = list(said[0].get("probabilities", ()))
    if not classes:
        what = next(iter(said[0]))  # a number, the first of several, or a risk
        return what, [one[what] for one in said]
    last = classes[-1]
    return f"probability of {last}", [one["probabilities"][last] for one in said]


def _label(name: str, units: Mapping[str, str]) -> str:
    return f"{name} ({units[name]})" if name in units else name


def _limits(report: Path) -> None:
    """Show how the model was judged: a page that `evaluate` wrote."""
    with st.expander("How this model was judged, and its limits"):
        st.iframe(report.read_text(encoding="utf-8"), height=900)


if __name__ == "__main__":
    main()
