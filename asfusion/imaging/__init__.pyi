from .augment import RadiographAugment as RadiographAugment
from .deidentification import DeidentificationReport as DeidentificationReport
from .deidentification import deidentify as deidentify
from .image_store import ImageStore as ImageStore
from .read import read_image as read_image
from .verdicts import ImageQuality as ImageQuality
from .verdicts import quality as quality
