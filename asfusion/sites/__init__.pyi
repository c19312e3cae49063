from .harmoniser import SiteHarmoniser as SiteHarmoniser
