from .augment import RadiographAugment as RadiographAugment
from .deidentification import DeidentificationReport as DeidentificationReport
from .deidentification import deidentify as deidentify
from .image_store import ImageStore as ImageStore
from .read import read_image as read_image
from .series import read_series as read_series
from .stored import read_stored_values as read_stored_values
from .volume import Volume as Volume
