from .augment import RadiographAugment as RadiographAugment
from .read import read_image as read_image
