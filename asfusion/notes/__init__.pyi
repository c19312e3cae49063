from .concepts import find_concepts as find_concepts
from .found import ConceptMention as ConceptMention
from .found import FoundConcepts as FoundConcepts
from .redacted import RedactedNotes as RedactedNotes
from .redacted import RedactedSpan as RedactedSpan
from .redaction import redact as redact
from .leaks import NotesCheck as NotesCheck
from .leaks import check_notes as check_notes
