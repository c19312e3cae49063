from .dicom_index import DicomIndex as DicomIndex
from .index import index_dicom as index_dicom
from .match import MatchedImages as MatchedImages
from .match import match_images as match_images
