"""The values that a DICOM file stores, before anything is done to them for show."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from asfusion._door import public
from asfusion.exceptions import DicomReadError
from asfusion.imaging._guard import checked_path, guarded
from asfusion.imaging.dicom.file import header_if_dicom, stored_of

_WHO = "DICOM file: "


@public
def read_stored_values(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read the pixels of a DICOM file as they are stored.

    Parameters
    ----------
    path : str or PathLike
        A DICOM file of one or many frames, of any transfer syntax that can be decoded here.

    Returns
    -------
    ndarray of shape (H, W), (frames, H, W), (H, W, samples) or (frames, H, W, samples)
        Stored values in the type that the header says and the byte order of the machine:
        no rescale, no window, no palette; values that are kept at higher bits are moved down
        (PS3.5, 8.1.1). Colours that are stored as luminance and
        difference are returned as RGB.

    Raises
    ------
    DicomReadError
        If the file is no DICOM file, holds no pixels, or more or fewer than it declares, or
        cannot be decoded. The message names neither the path nor anything in the file.
    ImageReadError
        If there is no such file.

    See Also
    --------
    read_image : One picture as it is meant to be seen.
    read_series : A volume with its geometry.

    Examples
    --------
    >>> import datetime, pathlib, tempfile
    >>> import numpy as np
    >>> from asfusion.datasets._phantoms.dicom_files import write_radiograph
    >>> from asfusion.imaging import read_stored_values
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "pelvis.dcm"
    >>> write_radiograph(
    ...     file, np.full((4, 5), 700, dtype=np.uint16), spacing_mm=(0.5, 0.5),
    ...     patient_key="P0001", site="A", scanner="DX 1", sex="female", age_years=34,
    ...     date=datetime.date(2021, 3, 9),
    ... )
    >>> values = read_stored_values(file)
    >>> values.shape, values.dtype, int(values.max())
    ((4, 5), dtype('uint16'), 700)
    >>> folder.cleanup()
    """
    file = checked_path(_WHO, path)
    with guarded(_WHO, "DICOM file", DicomReadError):
        header = header_if_dicom(file)
        if header is None:
            msg = "expected a DICOM file, got another kind."
            raise DicomReadError(msg)
        values = stored_of(file, header)
        return values[0] if header.n_frames == 1 else values
