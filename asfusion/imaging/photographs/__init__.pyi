from .augment import PhotographAugment as PhotographAugment
from .geometry import apply_homography as apply_homography
from .photograph import degrade as degrade
from .rectify import rectify as rectify
from .rows import augment_rows as augment_rows
from .rows import corner_annotations as corner_annotations
from .rows import rectify_rows as rectify_rows
