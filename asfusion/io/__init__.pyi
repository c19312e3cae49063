from .fhir import read_fhir as read_fhir
from .omop import read_omop as read_omop
from .records import Records as Records
