from .augment import RadiographAugment as RadiographAugment
from .augment import StackAugment as StackAugment
from .augment import mirror_sides as mirror_sides
from .read import read_image as read_image
