"""Columns that say where a row is from: addresses, licences, names of files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from asfusion._frames import Frame
from asfusion.suspects.names import words_of
from asfusion.suspects.suspect import Suspect

_MOSTLY = 0.9
_SAMPLE = 200
_CONTENT = {
    "addresses of web pages": re.compile(r"(https?|ftp)://\S+|www\.\S+\.\S+", re.IGNORECASE),
    "DOIs": re.compile(r"(doi:\s*|https?://(dx\.)?doi\.org/)?10\.\d{4,9}/\S+", re.IGNORECASE),
    "unique identifiers of DICOM": re.compile(r"[12](\.\d+){5,}"),
    "licences": re.compile(
        r"(cc[ -](by|0|zero)|cc0|creative commons|public domain|all rights reserved"
        r"|(apache|mit|bsd|l?gpl|odbl|pddl)\b[\w .-]{0,20}$|proprietary)([\s\w.,/-]*)",
        re.IGNORECASE,
    ),
    "names of files": re.compile(
        r"[^\n]{0,400}\.(pdf|csv|tsv|txt|json|xml|html?|zip|gz|xlsx?|docx?|parquet|npy|npz|h5|hdf5"
        r"|mat|pkl|bmp|gif|webp|svg|avi|mp4|nrrd|mha|mhd)",
        re.IGNORECASE,
    ),
    "names of hosts": re.compile(
        r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+(com|org|net|edu|gov|int|info|io|eu|uk|de|fr|nl|ch|at|it"
        r"|es|se|no|dk|fi|pl|cn|jp|kr|in|au|nz|ca|br|us|be|ie|tr|ru)",
        re.IGNORECASE,
    ),
}
_NAMES = frozenset(
    {
        *("license", "licence", "licenses", "licences", "url", "urls", "uri", "doi", "dois"),
        *("pmid", "pmcid", "citation", "copyright", "filename", "filenames", "filepath"),
        *("attribution", "provenance", "hyperlink", "webpage", "website"),
    }
)
# Of a source of data: an admission has a source, too, and so has an infection.
_OF_DATA = frozenset({"domain", "file", "dataset", "data", "database", "url", "system", "name"})
_PATHS = ({"file", "name"}, {"file", "path"}, {"image", "source"})


def find_provenance(frame: Frame, roles: Mapping[str, str]) -> list[Suspect]:
    """Return columns of text that tell where rows are from; images and series are read.

    Parameters
    ----------
    frame : Frame
        N rows.
    roles : mapping of str to str
        What each column is taken for.
    """
    found = []
    for name, role in roles.items():
        if role in ("image", "series", "visits", "empty", "gene"):
            continue
        evidence = _content(frame, name) or _name(name)
        if evidence:
            found.append(Suspect(name, "provenance", evidence))
    return found


def _name(name: str) -> str:
    words = words_of(name)
    if not _NAMES.isdisjoint(words) or words == ("source",):
        return "it is named like where data come from"
    of_data = "source" in words and len(words) == 2 and not _OF_DATA.isdisjoint(words)
    if of_data or any(pair <= set(words) for pair in _PATHS):
        return "it is named like where data come from"
    return ""


def _content(frame: Frame, name: str) -> str:
    if name in frame.plain or frame.kind(name) not in ("text", "category"):
        return ""
    distinct = dict.fromkeys(text for text in frame.strings(name) if text is not None)
    some = [text.strip() for text in list(distinct)[:_SAMPLE]]
    for what, form in _CONTENT.items():
        if some and sum(form.fullmatch(text) is not None for text in some) >= _MOSTLY * len(some):
            return f"it holds {what}"
    return ""
