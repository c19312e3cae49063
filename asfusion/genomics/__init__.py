"""Genotypes from PLINK and VCF files, their alleles brought into line, and risk scores."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
