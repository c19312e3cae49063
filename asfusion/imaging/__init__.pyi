from .augment import RadiographAugment as RadiographAugment
from .augment import StackAugment as StackAugment
from .augment import mirror_sides as mirror_sides
from .read import read_image as read_image
from .series import read_series as read_series
from .stored import read_stored_values as read_stored_values
from .volume import Volume as Volume
