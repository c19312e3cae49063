from .augment import RadiographAugment as RadiographAugment
from .image_store import ImageStore as ImageStore
from .read import read_image as read_image
