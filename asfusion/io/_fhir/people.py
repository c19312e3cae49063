"""Whom resources of FHIR are about: references to patients, resolved without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from asfusion.exceptions import InputError
from asfusion.io._before import Index

NOBODY = "without a patient"
NO_PATIENT = "about no patient"
CONTAINED = "about a patient who stands within the resource alone"
UNKNOWN = "with a reference to a patient who is not there"
_LONGEST = 1000
_ID = r"[^/\s?#|]{1,256}"
_PATIENT = re.compile(rf"(?:(https?://[^\s?#]+)/)?Patient/({_ID})(?:/_history/{_ID})?", re.ASCII)
_OTHER = re.compile(rf"(?:https?://[^\s?#]+/)?(?!Patient/)[A-Z][A-Za-z]{{1,60}}/{_ID}", re.ASCII)


@dataclass(frozen=True)
class People:
    """The patients that there are.

    Parameters
    ----------
    table : polars.DataFrame
        ``id``, ``url`` and ``name`` of each, as `rows.persons` gives them. Where it is empty,
        every reference to a patient counts, and the id is the name.
    servers : set of str
        Servers that references are to, as far as these decide who is meant.
    """

    table: pl.DataFrame
    servers: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        """What patients are called, sorted."""
        return self.table["name"].drop_nulls().unique().sort().to_list()

    def persons(self, index: Index) -> pl.DataFrame:
        """Return who of the patients is asked for: ``patient``, ``sex`` and ``birth``."""
        own = self.table.with_columns(as_patients(self.table["name"], index))
        asked = own.filter(pl.col("patient").is_in(index.rows["patient"].unique().implode()))
        return asked.unique("patient", keep="last", maintain_order=True).select(
            "patient", "sex", "birth"
        )

    def found(self, references: pl.Series) -> pl.DataFrame:
        """Return ``subject``, ``name`` and ``lost`` (the reason where there is no name).

        Raises
        ------
        InputError
            If references are to several servers, where nobody knows which patients are meant.
        """
        urls, ids = self._known()
        lines = []
        for reference in references.drop_nulls().unique():
            server, name, lost = _resolve(reference, urls, ids, anybody=self.table.is_empty())
            self.servers.update([server] if server else [])
            lines.append((reference, name, lost))
        if len(self.servers) > 1:
            msg = (
                f"Patients: expected references to one server, got {len(self.servers)} "
                "servers, which may mean different patients by the same id. Read what each "
                "server exported by itself."
            )
            raise InputError(msg)
        schema = dict.fromkeys(("subject", "name", "lost"), pl.String)
        return pl.DataFrame(lines, schema=schema, orient="row")

    def _known(self) -> tuple[dict[str, str | None], dict[str, tuple[str | None, str | None]]]:
        urls: dict[str, str | None] = {}
        ids: dict[str, tuple[str | None, str | None]] = {}
        for own, url, name in self.table.select("id", "url", "name").iter_rows():
            if url is not None:
                urls[url] = name
            if own is None:
                continue
            if own in ids and {url, ids[own][0]} <= set(filter(is_address, urls)):
                msg = (
                    "Patients: expected each id once, got one at two addresses. Read what each "
                    "server exported by itself."
                )
                raise InputError(msg)
            ids[own] = (url, name)
        return urls, ids


def _resolve(
    reference: str,
    urls: Mapping[str, str | None],
    ids: Mapping[str, tuple[str | None, str | None]],
    *,
    anybody: bool,
) -> tuple[str | None, str | None, str | None]:
    """Return the server if it decides, the name of the patient, and why there is none."""
    if reference in urls:
        return None, urls[reference], None if urls[reference] else UNKNOWN
    if reference.startswith("#"):
        return None, None, CONTAINED
    found = _PATIENT.fullmatch(reference) if len(reference) <= _LONGEST else None
    if found is None:
        is_other = len(reference) <= _LONGEST and _OTHER.fullmatch(reference)
        return None, None, NO_PATIENT if is_other else UNKNOWN
    server, own = found.groups()
    if anybody:
        return server, own, None
    url, name = ids.get(own, (None, None))
    if server is not None and is_address(url):
        name = None  # the patient of that id is at another address, or `urls` would have it
    return server if url is None else None, name, None if name else UNKNOWN


def is_address(url: str | None) -> bool:
    """Return whether a URL names a server."""
    return url is not None and url.startswith(("http://", "https://"))


def as_patients(names: pl.Series, index: Index) -> pl.Series:
    """Return names as patients of the index: whole numbers where it has those."""
    kind = index.rows.schema["patient"]
    if kind == pl.String:
        return names.alias("patient")
    numbers = names.cast(kind, strict=False)
    same = numbers.cast(pl.String) == names
    return pl.select(pl.when(same).then(numbers)).to_series().alias("patient")
