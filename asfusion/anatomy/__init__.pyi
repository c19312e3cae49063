from .coco import read_coco as read_coco
from .found import Found as Found
from .landmark_finder import LandmarkFinder as LandmarkFinder
from .masks import read_masks as read_masks
from .region_finder import RegionFinder as RegionFinder
from .saved import read_finder as read_finder
