"""The process that decodes what may be hostile, with a limit on its memory.

It is told what to do, and answers, over two pipes: a length, JSON, and after that raw numbers.
Nothing here is imported by the process that asks but the names of the questions.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asfusion.exceptions import DicomReadError, ImageReadError
from asfusion.imaging._limits import MAX_BYTES, MAX_PIXELS, UNCAPPED
from asfusion.imaging.dicom._jpeg2000 import reduced_values
from asfusion.imaging.dicom.declared import declared
from asfusion.imaging.dicom.frames import decoder_dataset, stored_frames
from asfusion.imaging.dicom.header import Header, read_directory, read_header
from asfusion.imaging.read import decode_here

FRAME, FAULT = b"\x01", b"\x00"
_SPARE = 256 * 2**20  # what libraries and their buffers take beside a frame
_PICTURE_BYTES = 24  # for each pixel of an ordinary image: coefficients, layers and copies
_COPIES = 8  # of a frame, in the widest type that a decoder works in


def main() -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the process that asks
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Libraries print what they find in a file: nowhere.
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    warnings.simplefilter("ignore")
    _warm_up()
    send(answers, {"ready": True})
    while (question := receive(questions)) is not None:
        if not _answer(question, answers):
            return


def _warm_up() -> None:
    """Import what is needed later, before memory is limited."""
    import logging

    import pydicom
    import pydicom.pixels  # with every decoder that is installed
    from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin  # noqa: F401

    logging.disable(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def receive(file: BinaryIO) -> Any:
    """Return the next piece of JSON; None at the end."""
    head = file.read(4)
    if len(head) < 4:
        return None
    return json.loads(file.read(struct.unpack("<L", head)[0]))


def send(file: BinaryIO, plain: Any) -> None:
    """Write one piece of JSON."""
    data = json.dumps(plain).encode("ascii")
    file.write(struct.pack("<L", len(data)) + data)
    file.flush()


def _answer(question: dict[str, Any], answers: BinaryIO) -> bool:
    """Answer one question; return False if this process should not go on."""
    try:
        with open(bytes.fromhex(question["path"]), "rb") as file:  # noqa: PTH123 - bytes
            _ANSWERS[question["do"]](question, file, answers)
    except BrokenPipeError:
        return False
    except Exception as error:
        answers.write(FAULT)
        send(answers, _fault(error))
        return not isinstance(error, MemoryError)
    return True


def _fault(error: Exception) -> dict[str, str]:
    """Return an error as words of ours; those of others are dropped."""
    if isinstance(error, ImageReadError):
        return {"kind": "ours", "words": str(error)}
    kinds = {MemoryError: "memory", FileNotFoundError: "missing", PermissionError: "permission"}
    return {"kind": next((k for t, k in kinds.items() if isinstance(error, t)), "other")}


def _header(_: dict[str, Any], file: BinaryIO, answers: BinaryIO) -> None:
    _limit_memory(3 * MAX_BYTES)
    plain = read_header(file, None).to_plain()
    answers.write(FRAME)
    send(answers, plain)


def _directory(_: dict[str, Any], file: BinaryIO, answers: BinaryIO) -> None:
    _limit_memory(MAX_BYTES)
    names = read_directory(file, None)
    answers.write(FRAME)
    send(answers, names)


def _pixels(question: dict[str, Any], file: BinaryIO, answers: BinaryIO) -> None:
    header = Header(**question["header"])
    _limit_for(header, file)
    _, dtype = declared(header)
    for values in stored_frames(file, header, question["frame"]):
        _send_values(answers, values, dtype)


def _reduced(question: dict[str, Any], file: BinaryIO, answers: BinaryIO) -> None:
    header = Header(**question["header"])
    _limit_for(header, file)
    dataset = decoder_dataset(file, header)
    values = reduced_values(dataset, header.syntax, question["size"])
    if values is None:
        raise ValueError
    _send_values(answers, values, np.dtype(np.float32))


def _picture(question: dict[str, Any], file: BinaryIO, answers: BinaryIO) -> None:
    _limit_memory(_PICTURE_BYTES * min(question["n_pixels"], MAX_PIXELS))
    size, channels, bits = question["size"], question["channels"], question["bits"]
    pixels = decode_here(file, size, channels, bits)
    if list(pixels.shape) != question["shape"]:
        raise ValueError
    _send_values(answers, pixels, pixels.dtype)


def _send_values(answers: BinaryIO, values: NDArray[Any], dtype: np.dtype[Any]) -> None:
    answers.write(FRAME)
    answers.write(np.ascontiguousarray(values, dtype).data.cast("B"))
    answers.flush()


_ANSWERS: dict[str, Callable[[dict[str, Any], BinaryIO, BinaryIO], None]] = {
    "header": _header, "directory": _directory, "pixels": _pixels, "reduced": _reduced,
    "picture": _picture,
}  # fmt: skip


def _limit_for(header: Header, file: BinaryIO) -> None:
    shape, dtype = declared(header)
    frame = int(np.prod(shape[1:])) * max(4, dtype.itemsize)
    _limit_memory(_COPIES * frame + (3 * MAX_BYTES if header.is_deflated else 0)
                  + 3 * os.fstat(file.fileno()).st_size)  # fmt: skip


def _limit_memory(n_bytes: int) -> None:
    """Allow this process so many bytes more than it has."""
    try:
        import resource
    except ImportError:  # Windows: the size of what is decoded is limited instead
        if n_bytes > _COPIES * UNCAPPED:
            msg = (
                f"expected a compressed image of at most {UNCAPPED // 2**20} MiB on a system "
                "without limits on memory, got a larger one. Store the file uncompressed."
            )
            raise DicomReadError(msg) from None
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = _address_space() + _SPARE + n_bytes
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    """Return how many bytes of addresses this process has."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no path of ours
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2 * 2**30  # not Linux: about what the libraries take
