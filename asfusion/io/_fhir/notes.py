"""Texts that documents and reports of FHIR carry within them; nothing is fetched."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import polars as pl

from asfusion.io._fhir.codes import words_of
from asfusion.io._fhir.rows import KEPT, common, effective, first_reason, void

LONGEST = 4_000_000  # characters, as for everything that reads notes
URL_ALONE = "with an address alone, which is never fetched"
OTHER_TYPE = "of a type that is not plain text"
NO_TEXT = "without a text"
DAMAGED = "that cannot be decoded"
TOO_LONG = f"of more than {LONGEST:,} characters"
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE | re.ASCII)
# Others are left out: some that Python knows take time that grows with the square of a text.
_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin1", "windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("iso-8859-15", "latin9"), "iso-8859-15"),
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be")},
}


def documents(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each attachment of document references."""
    attachments = pl.col("content").list.eval(pl.element().struct.field("attachment"))
    rows = common(table, pl.col("date")).with_columns(words_of(table["type"]).alias("kind"))
    return _attached(rows.with_columns(attachments.alias("attachment")), "status", "docStatus")


def reports(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each conclusion and each attachment of diagnostic reports.

    A report counts from when it was issued: what it is about was so before.
    """
    rows = common(table, pl.coalesce("issued", effective()))
    rows = rows.with_columns(words_of(table["code"]).alias("kind"))
    concludes = pl.col("conclusion").is_not_null()
    concluded = rows.filter(concludes).with_columns(
        pl.col("conclusion").alias("text"), first_reason(void("status"))
    )
    has_form = pl.col("presentedForm").list.len().fill_null(0) > 0
    others = rows.filter(has_form | ~concludes).with_columns(
        pl.col("presentedForm").alias("attachment")
    )
    return pl.concat([concluded.select(*KEPT, "kind", "text"), _attached(others, "status")])


def _attached(rows: pl.DataFrame, *status: str) -> pl.DataFrame:
    """Return a row for each attachment, as text."""
    rows = rows.explode("attachment", empty_as_null=True)
    read = [_decoded(attachment) for attachment in rows["attachment"]]
    schema = {"text": pl.String, "problem": pl.String}
    rows = rows.hstack(pl.DataFrame(read, schema=schema, orient="row"))
    rows = rows.with_columns(pl.coalesce(first_reason(void(*status)), "problem").alias("why"))
    return rows.select(*KEPT, "kind", "text")


def _decoded(attachment: dict[str, Any] | None) -> tuple[str | None, str | None]:
    """Return the text of an attachment, or why there is none."""
    given = attachment or {}
    data, kind = given.get("data"), str(given.get("contentType") or "text/plain")
    if not data:
        return None, URL_ALONE if given.get("url") else NO_TEXT
    if kind.partition(";")[0].strip().lower() != "text/plain":
        return None, OTHER_TYPE
    found = _CHARSET.search(kind)
    charset = _CHARSETS.get(found[1].lower() if found else "utf-8")
    if charset is None:
        return None, DAMAGED
    if len(data) > 6 * LONGEST:  # base64 of four bytes a character
        return None, TOO_LONG
    try:
        text = base64.b64decode("".join(data.split()), validate=True).decode(charset)
    except (binascii.Error, ValueError):
        return None, DAMAGED
    text = text.removeprefix("\ufeff")
    return (None, TOO_LONG) if len(text) > LONGEST else (text, None if text.strip() else NO_TEXT)
