from ._records_page import Met as Met
from ._records_page import Tally as Tally
from .records import Records as Records
