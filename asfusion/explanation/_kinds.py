"""Who attributes what: one class for each kind of content that an encoder reads."""

from __future__ import annotations

from asfusion.explanation._asking import Asking, Attributor
from asfusion.explanation.of_concepts import ConceptAttributor
from asfusion.explanation.of_genotypes import GenotypeAttributor
from asfusion.explanation.of_images import ImageAttributor
from asfusion.explanation.of_notes import NoteAttributor
from asfusion.explanation.of_others import ColumnAttributor
from asfusion.explanation.of_regions import RegionAttributor
from asfusion.explanation.of_tables import TableAttributor
from asfusion.explanation.of_visits import VisitAttributor
from asfusion.explanation.of_volumes import SeriesAttributor

KINDS: dict[str, type[Attributor]] = {
    "concepts": ConceptAttributor,
    "genotypes": GenotypeAttributor,
    "image": ImageAttributor,
    "note": NoteAttributor,
    "regions": RegionAttributor,
    "table": TableAttributor,
    "visits": VisitAttributor,
    "volume": SeriesAttributor,
}


def attributor_of(asking: Asking, name: str) -> Attributor:
    """Return who attributes within a modality; columns of their own kind are left out whole."""
    kind = asking.game.model._modality_encoders()[name].kind
    return KINDS.get(kind, ColumnAttributor)(asking, name)
