from .dicom_index import DicomIndex as DicomIndex
from .dimse import Dimse as Dimse
from .fetch import FetchReport as FetchReport
from .fetch import fetch_series as fetch_series
from .fetch import fetch_studies as fetch_studies
from .index import index_dicom as index_dicom
from .match import MatchedImages as MatchedImages
from .match import match_images as match_images
