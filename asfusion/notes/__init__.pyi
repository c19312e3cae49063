from .concepts import find_concepts as find_concepts
