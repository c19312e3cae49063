from .geometry import apply_homography as apply_homography
from .photograph import degrade as degrade
