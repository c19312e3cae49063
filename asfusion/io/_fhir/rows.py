"""Resources of FHIR as rows of what they tell, each with the reason if it cannot be used.

Every table has ``nth`` (the number of the resource), ``subject`` (a reference), ``time``,
``is_day`` and ``why`` (null where a row can be used), and columns of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from asfusion.io._fhir.codes import UCUMS, Codes, codes_of, values_of, words_of
from asfusion.io._fhir.lines import FULL_URL
from asfusion.io._fhir.moments import NO_ZONE, birth, instants, moments
from asfusion.io._fhir.schema import OTHER_VALUES, VALUES

IN_ERROR = "entered in error or cancelled"
NO_CODE = "without a code of the system"
ABSENT = "with a reason why there is no value"
NO_VALUE = "without a value"
OTHER_VALUE = "with a value of a kind that is not read"
COMPARATOR = "with a comparator that is not known"
NO_UID = "without the UID of a study"
BY_REFERENCE = "of a drug without a code"
_VOID = ("entered-in-error", "cancelled", "not-done", "refuted")
_SIGNS = ("<", "<=", ">=", ">")
_UID = r"^(urn:oid:)?([0-9]+(\.[0-9]+)+)$"
Reasons = Mapping[str, pl.Expr]


def first_reason(reasons: Reasons) -> pl.Expr:
    """Return the first reason that holds for a row, null where none does."""
    given = [pl.when(holds).then(pl.lit(name)) for name, holds in reasons.items()]
    return pl.coalesce(given).alias("why")


def _field(column: str, *path: str) -> pl.Expr:
    found = pl.col(column)
    for name in path:
        found = found.struct.field(name)
    return found


def effective() -> pl.Expr:
    """Return when something was so; of a period the end, and else when it was told."""
    return pl.coalesce(
        "effectiveDateTime",
        "effectiveInstant",
        _field("effectivePeriod", "end"),
        _field("effectivePeriod", "start"),
        "issued",
    )


def common(table: pl.DataFrame, at: pl.Expr) -> pl.DataFrame:
    """Return the table with whom and when its resources are of."""
    when = moments(table.select(at.alias("at")).to_series())
    return table.with_columns(_field("subject", "reference").alias("subject"), *when)


def void(*columns: str) -> dict[str, pl.Expr]:
    """Return the reasons why a resource does not count, by its status and its time."""
    is_void = [pl.col(name).str.to_lowercase().is_in(_VOID) for name in columns]
    return {IN_ERROR: pl.any_horizontal(is_void), NO_ZONE: pl.col("no_zone")}


KEPT = ("nth", "subject", "time", "is_day", "is_partial", "why")


# -- observations ------------------------------------------------------------------------


def events(table: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    """Return a row for each value of observations, and for each of their components."""
    table = common(table, effective())
    table = table.with_columns(instants(table["issued"]).alias("issued"))
    shared = ["nth", "subject", "time", "is_day", "is_partial", "no_zone", "status", "issued"]
    values = list(VALUES)
    own = table.select(*shared, "code", *values)
    if table["component"].null_count() < len(table):
        parts = table.filter(pl.col("component").list.len() > 0).select(*shared, "component")
        inner = parts.explode("component").unnest("component").select(own.columns)
        alone = table.select(
            (pl.col("component").list.len().fill_null(0) == 0)
            | pl.any_horizontal(pl.col(values).is_not_null())
        ).to_series()
        own = pl.concat([own.filter(alone), inner])
    return _valued(own.with_columns(codes.chosen(own["code"]).alias("code")), codes)


def _valued(rows: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    rows = rows.with_columns(values_of(rows["valueCodeableConcept"]).alias("valueCodeableConcept"))
    number, sign = _field("valueQuantity", "value"), _field("valueQuantity", "comparator")
    measured = pl.when(number.is_not_null()).then(
        pl.concat_str(sign.fill_null(""), number.cast(pl.String))
    )
    whole = pl.col("valueInteger").cast(pl.String)
    texts = ("valueString", "valueCodeableConcept", "valueBoolean")
    is_ucum = _field("valueQuantity", "system").is_in(UCUMS)
    code, unit = _field("valueQuantity", "code"), _field("valueQuantity", "unit")
    value, own_unit = pl.coalesce(measured, whole, *texts), pl.coalesce(unit, code)
    rows = rows.with_columns(
        value.alias("value"),
        pl.when(is_ucum).then(pl.coalesce(code, unit)).otherwise(own_unit).alias("unit"),
        (is_ucum & code.is_not_null()).fill_null(value=False).alias("is_ucum"),
    )
    others = pl.any_horizontal(pl.col(list(OTHER_VALUES)).is_not_null())
    reasons = {
        **void("status"),
        NO_CODE: pl.col("code").is_null(),
        ABSENT: pl.col("dataAbsentReason").is_not_null(),
        COMPARATOR: sign.is_not_null() & ~sign.is_in(_SIGNS),
        OTHER_VALUE: pl.col("value").is_null() & others,
        NO_VALUE: pl.col("value").is_null(),
    }
    rows = rows.with_columns(first_reason(reasons))
    if codes.asked is not None:
        n = len(rows)
        rows = rows.filter(pl.col("code").is_null() | pl.col("code").is_in(list(codes.asked)))
        codes.n_not_asked += n - len(rows)
    return rows.select(*KEPT, "issued", "code", "value", "unit", "is_ucum")


# -- what was there, and what was given --------------------------------------------------


def visits(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each encounter, by its beginning and its class."""
    rows = common(table, _field("period", "start")).with_columns(
        words_of(table["class"]).alias("kind"), first_reason(void("status"))
    )
    return rows.select(*KEPT, "kind")


def conditions(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each condition, from when it was recorded or else began."""
    at = pl.coalesce("recordedDate", "onsetDateTime", _field("onsetPeriod", "start"))
    verified = values_of(table["verificationStatus"]).alias("verified")
    rows = common(table.with_columns(verified), at)
    return _coded(rows, "code", ("verified",), NO_CODE)


def drugs(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each drug that was ordered, given or told of."""
    names = ("authoredOn", "effectiveDateTime", "effectiveInstant", "dateAsserted", "issued")
    there = [pl.col(name) for name in names if name in table.columns]
    if "effectivePeriod" in table.columns:
        there.append(_field("effectivePeriod", "start"))
    rows = common(table, pl.coalesce(there))
    return _coded(rows, "medicationCodeableConcept", ("status",), BY_REFERENCE)


def _coded(rows: pl.DataFrame, concept: str, status: Sequence[str], no_code: str) -> pl.DataFrame:
    rows = rows.with_columns(codes_of(rows[concept]).alias("codes"))
    reasons = {**void(*status), no_code: pl.col("codes").list.len().fill_null(0) == 0}
    return rows.with_columns(first_reason(reasons)).select(*KEPT, "codes")


def studies(table: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each series of imaging studies."""
    rows = common(table, pl.col("started"))
    uids = pl.col("identifier").list.eval(
        pl.element().struct.field("value").str.extract(_UID, 2).drop_nulls()
    )
    rows = rows.with_columns(
        uids.list.first().alias("study"), pl.col("description").alias("of_study")
    ).drop("description")
    site = _field("series", "bodySite")
    rows = rows.explode("series", empty_as_null=True).with_columns(
        _field("series", "uid").str.extract(_UID, 2).alias("series_uid"),
        _field("series", "modality", "code").alias("modality"),
        pl.coalesce(site.struct.field("display"), site.struct.field("code")).alias("body_site"),
        pl.coalesce(_field("series", "description"), "of_study").alias("description"),
    )
    rows = rows.with_columns(first_reason({**void("status"), NO_UID: pl.col("study").is_null()}))
    own = ("study", "series", "modality", "body_site", "description")
    return rows.drop("series").rename({"series_uid": "series"}).select(*KEPT, *own)


# -- persons -----------------------------------------------------------------------------


def persons(table: pl.DataFrame, system: str | None) -> pl.DataFrame:
    """Return ``id``, ``url``, ``name``, ``sex`` and ``birth`` of patients.

    ``name`` is what they are called elsewhere: the identifier of the system, or else their id.
    """
    if system is None:
        name = pl.coalesce("id", pl.col(FULL_URL).str.strip_prefix("urn:uuid:"))
    else:
        own = pl.element().filter(pl.element().struct.field("system") == system)
        name = pl.col("identifier").list.eval(own.struct.field("value")).list.first()
    gender = pl.col("gender").str.to_lowercase()
    return table.select(
        "nth",
        "id",
        pl.col(FULL_URL).alias("url"),
        name.alias("name"),
        pl.lit(None, dtype=pl.String).alias("why"),
        pl.when(gender.is_in(("female", "male"))).then(gender).alias("sex"),
        birth(pl.col("birthDate")).alias("birth"),
    )
