"""Damaged pictures, and pictures that ask for far more time or memory than they have bytes.

``damaged(seed)`` gives one of either, as bytes and the ending of a file. The valid ones that they
are made of are small and made here; ``valid()`` returns them all.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

from tests.forging.dicom_files import case

_SHARE_OF_BOMBS = 0.15
_LENGTHS = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x01",
)


def damaged(seed: int) -> tuple[bytes, str]:
    """Return a mutant of a small valid picture, or a bomb, and its ending."""
    rng = np.random.default_rng([seed, 15])
    if rng.random() < _SHARE_OF_BOMBS:
        names = sorted(BOMBS)
        return bomb(names[int(rng.integers(len(names)))], rng)
    sources = valid()
    content, suffix = sources[int(rng.integers(len(sources)))]
    if suffix == ".nii.gz" and rng.random() < 0.7:  # damage what is inside, too
        return gzip.compress(_mutant(gzip.decompress(content), rng), 1, mtime=0), suffix
    return _mutant(content, rng), suffix


def bomb(name: str, rng: np.random.Generator | None = None) -> tuple[bytes, str]:
    """Return a bomb by its name in `BOMBS`, of a random size."""
    return BOMBS[name](np.random.default_rng(0) if rng is None else rng)


@cache
def valid() -> tuple[tuple[bytes, str], ...]:
    """Return small valid pictures of every format that is read."""
    pictures = [(case(seed).content, ".dcm") for seed in range(40)]
    pictures += [(_dicom(syntax), ".dcm") for syntax in _COMPRESSED]
    return (*pictures, *_ordinary(), *_volumes())


def _mutant(source: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one to six things wrong, most of them where a header is."""
    data = bytearray(source)
    for _ in range(int(rng.integers(1, 7))):
        if len(data) < 16:
            break
        place = int(rng.random() ** (2 if rng.random() < 0.6 else 1) * (len(data) - 8))
        kind = int(rng.integers(8))
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            data[place : place + 4] = rng.bytes(4)
        elif kind == 3:
            data[place : place + 4] = _LENGTHS[int(rng.integers(len(_LENGTHS)))]
        elif kind == 4:
            del data[place : place + int(rng.integers(1, 40))]
        elif kind == 5:
            data[place:place] = data[max(0, place - 40) : place]
        elif kind == 6 and rng.random() < 0.4:
            del data[place:]
        else:
            other = int(rng.integers(len(data) - 8))
            data[place : place + 8] = data[other : other + 8]
    return bytes(data)


# -- small valid pictures --------------------------------------------------------------

_COMPRESSED = (
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.80",
)  # fmt: skip


def _grey(side: int = 24) -> np.ndarray:
    return np.add.outer(np.arange(side), 3 * np.arange(side)).astype(np.uint8)


def _dicom(syntax: str) -> bytes:
    import pydicom

    from tests.imaging.files import dicom

    dataset = dicom(_grey(64).astype(np.uint16))
    if syntax == "1.2.840.10008.1.2.4.91":
        dataset.compress(syntax, j2k_cr=[4])
    else:
        dataset.compress(syntax)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _ordinary() -> list[tuple[bytes, str]]:
    """Return PNG, JPEG and TIFF files of many kinds."""
    from PIL import Image, PngImagePlugin

    grey = Image.fromarray(_grey())
    colour = Image.merge("RGB", (grey, grey.rotate(90), grey.rotate(180)))
    deep = Image.fromarray(_grey().astype(np.uint16) * 200)
    words = PngImagePlugin.PngInfo()
    words.add_text("Comment", "a hand " * 40, zip=True)
    words.add_itxt("Title", "a knee " * 40, zip=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a hip" * 20
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (grey, ".png", {}), (colour, ".png", {"pnginfo": words}), (deep, ".png", {"exif": exif}),
        (colour.convert("P"), ".png", {"transparency": 3}), (grey.convert("1"), ".png", {}),
        (grey, ".jpg", {}), (colour, ".jpg", {"progressive": True, "exif": exif}),
        (colour, ".jpg", {"comment": b"an ankle", "icc_profile": bytes(300)}),
        (colour.convert("CMYK"), ".jpg", {}),
        *((image, ".tif", {"compression": packing}) for image in (grey, colour, deep)
          for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits")),
        (colour, ".tif", {"compression": "jpeg", "exif": exif}),
        (grey.convert("1"), ".tif", {"compression": "group4"}),
        (grey, ".tif", {"save_all": True, "append_images": [grey] * 3}),
    ]  # fmt: skip
    found = []
    for image, suffix, options in kinds:
        buffer = io.BytesIO()
        form = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF"}[suffix]
        image.save(buffer, form, **options)
        found.append((buffer.getvalue(), suffix))
    return found


def nifti(
    values: np.ndarray, *, extension: bytes = b"", slope: float = 0.0, order: str = "<",
    offset: float | None = None,
) -> bytes:  # fmt: skip
    """Return a NIfTI file of voxels (z, y, x)."""
    code = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64}[values.dtype.str[1:]]
    head = bytearray(348)
    struct.pack_into(f"{order}i", head, 0, 348)
    struct.pack_into(f"{order}8h", head, 40, 3, *values.shape[::-1], 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", head, 70, code, 8 * values.dtype.itemsize)
    struct.pack_into(f"{order}8f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    start = 352 + len(extension) if offset is None else offset
    struct.pack_into(f"{order}3f", head, 108, start, slope, 0.0)
    head[123] = 2
    struct.pack_into(f"{order}2h", head, 252, 0, 1)
    struct.pack_into(f"{order}12f", head, 280, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0)
    head[344:348] = b"n+1\0"
    flag = b"\1\0\0\0" if extension else bytes(4)
    return (
        bytes(head) + flag + extension + values.astype(values.dtype.newbyteorder(order)).tobytes()
    )


def _volumes() -> list[tuple[bytes, str]]:
    voxels = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
    words = struct.pack("<2i", 32, 6) + b"a comment".ljust(24, b"\0")
    plain = [
        nifti(voxels), nifti(voxels, slope=2.5), nifti(voxels.astype(np.float32), order=">"),
        nifti(voxels.astype(np.uint8), extension=words),
    ]  # fmt: skip
    packed = [(gzip.compress(content, mtime=0), ".nii.gz") for content in plain]
    return [(content, ".nii") for content in plain] + packed


# -- bombs -----------------------------------------------------------------------------

Bomb = Callable[[np.random.Generator], tuple[bytes, str]]


def _size(rng: np.random.Generator, low: int, high: int) -> int:
    """Return a number between two, of any order of magnitude."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high))))


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        code = struct.pack(">L", zlib.crc32(name + data))
        parts.append(struct.pack(">L", len(data)) + name + data + code)
    return b"".join(parts)


def _png_of(width: int, height: int, *between: tuple[bytes, bytes], pad: int = 0) -> bytes:
    """Return a PNG of zeros, other chunks before its pixels and bytes of no use behind them."""
    head = (b"IHDR", struct.pack(">2L5B", width, height, 8, 0, 0, 0, 0))
    line = zlib.compressobj(9)
    rows = b"".join(line.compress(bytes(width + 1)) for _ in range(height)) + line.flush()
    return _png(head, *between, (b"IDAT", rows), (b"IEND", b"")) + bytes(pad)


def _large_png(rng: np.random.Generator) -> tuple[bytes, str]:
    side = _size(rng, 3000, 9900)
    return _png_of(side, side, pad=int(rng.integers(0, 400_000))), ".png"


def _texts(rng: np.random.Generator) -> tuple[bytes, str]:
    packed = zlib.compress(bytes(_size(rng, 2**18, 2**20 - 1)), 9)
    name = [b"zTXt", b"iTXt", b"iCCP"][int(rng.integers(3))]
    head = b"k\0\1\0\0\0" if name == b"iTXt" else b"k\0\0"
    return _png_of(8, 8, *[(name, head + packed)] * _size(rng, 20, 400)), ".png"


def _raw_profile(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a PNG with EXIF in a packed text, every entry of which points at all of it."""
    block = b"Exif\0\0" + _all_pointing(_size(rng, 500, 4000), 400_000)
    text = f"\nexif\n{len(block):8d}\n{block.hex()}"
    packed = zlib.compress(text.encode()[: 2**20 - 1], 9)
    return _png_of(8, 8, (b"zTXt", b"Raw profile type exif\0\0" + packed)), ".png"


def _exif_chunk(rng: np.random.Generator) -> tuple[bytes, str]:
    return _png_of(8, 8, (b"eXIf", _all_pointing(_size(rng, 500, 4000), 100_000))), ".png"


def _tiny_chunks(rng: np.random.Generator) -> tuple[bytes, str]:
    name = [b"IDAT", b"abCd", b"tEXt"][int(rng.integers(3))]
    return _png_of(8, 8, *[(name, b"")] * _size(rng, 2000, 300_000)), ".png"


def _private_chunk(rng: np.random.Generator) -> tuple[bytes, str]:
    return _png_of(8, 8, (b"prVt", bytes(_size(rng, 2**20, 48 * 2**20)))), ".png"


def _all_pointing(n: int, n_bytes: int) -> bytes:
    """Return a directory of which every entry points at the same bytes."""
    start = 8 + 2 + 12 * n + 4
    entries = b"".join(struct.pack("<HHLL", 0x9000 + i, 7, n_bytes, start) for i in range(n))
    return b"II*\0" + struct.pack("<LH", 8, n) + entries + bytes(4) + bytes(n_bytes)


def _jpeg(side: int, **options: object) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _scans(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a progressive JPEG whose last scan comes again and again."""
    side = _size(rng, 16, 3000)
    code = _jpeg(side, progressive=True)
    last = code.rindex(b"\xff\xda")
    start = code.rindex(b"\xff\xc4", 0, last)
    scan = code[start : code.rindex(b"\xff\xd9")]
    return code[:start] + scan * _size(rng, 20, 3000) + b"\xff\xd9", ".jpg"


def _hidden_scans(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return the same with a comment between scans that looks like the end."""
    content, suffix = _scans(rng)
    at = content.index(b"\xff\xda")
    behind = content.index(b"\xff\xc4", at)
    return content[:behind] + b"\xff\xfe\0\x04\xff\xd9" + content[behind:], suffix


def _sequential_scans(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a sequential JPEG whose one scan comes many times."""
    code = _jpeg(_size(rng, 500, 4000))
    start, end = code.index(b"\xff\xda"), code.rindex(b"\xff\xd9")
    return code[:start] + code[start:end] * _size(rng, 2, 50) + b"\xff\xd9", ".jpg"


def _large_jpeg(rng: np.random.Generator) -> tuple[bytes, str]:
    side = _size(rng, 2000, 9900)
    code = _jpeg(64, progressive=bool(rng.random() < 0.5))
    at = next(code.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in code)
    code = code[: at + 5] + struct.pack(">2H", side, side) + code[at + 9 :]
    return code + bytes(_size(rng, 1, 2**20)), ".jpg"


def _segments(rng: np.random.Generator) -> tuple[bytes, str]:
    code = _jpeg(16)
    kinds = (
        b"\xff\xfe\0\2" * _size(rng, 1000, 10**6), b"\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(65527),
        bytes(_size(rng, 1000, 10**6)), b"\xff" * _size(rng, 1000, 10**6),
    )  # fmt: skip
    return code[:2] + kinds[int(rng.integers(4))] * int(rng.integers(1, 40)) + code[2:], ".jpg"


def _exif_segment(rng: np.random.Generator) -> tuple[bytes, str]:
    mark = [b"Exif\0\0", b"MPF\0"][int(rng.integers(2))]
    block = mark + _all_pointing(_size(rng, 200, 2500), 20_000)[: 65_000 - len(mark)]
    name = b"\xff\xe1" if mark[0] == 69 else b"\xff\xe2"
    code = _jpeg(16)
    return code[:2] + name + struct.pack(">H", len(block) + 2) + block + code[2:], ".jpg"


def tiff(
    width: int, height: int, data: bytes, *, packing: int = 1, rows: int | None = None,
    strips: list[tuple[int, int]] | None = None, samples: int = 1,
    more: list[tuple[int, int, int, int]] | None = None, pages: int = 1, follow: int | None = None,
) -> bytes:  # fmt: skip
    """Return a TIFF of eight bits: strips as (place in data, bytes), further entries, and pages."""
    strips = [(0, len(data))] if strips is None else strips
    n = len(strips)
    tables = struct.pack(f"<{n}L", *(8 + place for place, _ in strips))
    tables += struct.pack(f"<{n}L", *(size for _, size in strips))
    at = 8 + len(data)
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, packing),
        (262, 3, 1, 2 if samples == 3 else 1), (273, 4, n, at if n > 1 else 8 + strips[0][0]),
        (277, 3, 1, samples), (278, 4, 1, height if rows is None else rows),
        (279, 4, n, at + 4 * n if n > 1 else strips[0][1]),
    ] + (more or [])  # fmt: skip
    table = struct.pack("<H", len(entries))
    table += b"".join(struct.pack("<HHLL", *entry) for entry in sorted(entries))
    first = at + len(tables)
    starts = [first + page * (len(table) + 4) for page in range(pages)]
    links = [*starts[1:], 0 if follow is None else starts[follow]]
    body = b"".join(table + struct.pack("<L", link) for link in links)
    return b"II*\0" + struct.pack("<L", first) + data + tables + body


def _pages(rng: np.random.Generator) -> tuple[bytes, str]:
    return tiff(4, 4, bytes(16), pages=_size(rng, 2, 100_000)), ".tif"


def _circle(rng: np.random.Generator) -> tuple[bytes, str]:
    pages = int(rng.integers(1, 6))
    return tiff(4, 4, bytes(16), pages=pages, follow=int(rng.integers(pages))), ".tif"


def _packed_tiff(side: int, samples: int, packing: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.new("L" if samples == 1 else "RGB", (side, side))
    image.save(buffer, "TIFF", compression=packing)
    return buffer.getvalue()


def _large_tiff(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a large empty picture, with enough bytes of no use to look like one."""
    side, samples = _size(rng, 2000, 9900), int(rng.choice([1, 3]))
    packing = str(rng.choice(["tiff_lzw", "tiff_adobe_deflate", "packbits"]))
    content = _packed_tiff(side, samples, packing)
    return content + bytes(max(0, side * side * 4 // 240 - len(content))), ".tif"


def _shared_strips(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return strips of one row each that all read the same bytes."""
    height, n_bytes = _size(rng, 100, 20_000), _size(rng, 2**16, 2**22)
    strips = [(0, n_bytes)] * height
    packing = int(rng.choice([1, 5, 8]))
    return tiff(64, height, bytes(n_bytes), packing=packing, rows=1, strips=strips), ".tif"


def _wide_strip(rng: np.random.Generator) -> tuple[bytes, str]:
    more = [(322, 4, 1, _size(rng, 2**10, 2**17)), (323, 4, 1, _size(rng, 2**10, 2**17))]
    more += [(324, 4, 1, 8), (325, 4, 1, 64)]
    return tiff(64, 64, bytes(64), packing=5, more=more), ".tif"


def _heavy_entries(rng: np.random.Generator) -> tuple[bytes, str]:
    n = _size(rng, 50, 4000)
    data = bytes(_size(rng, 2**16, 2**21))
    more = [(50_000 + i, 7, len(data), 8) for i in range(n)]
    if rng.random() < 0.3:  # in a directory of EXIF inside
        block = _all_pointing(_size(rng, 50, 4000), 60_000)[8:]
        return tiff(4, 4, bytes(16) + block, more=[(34665, 4, 1, 24)], strips=[(0, 16)]), ".tif"
    return tiff(4, 4, data, more=more, strips=[(0, 16)]), ".tif"


def _scans_in_tiff(rng: np.random.Generator) -> tuple[bytes, str]:
    code, _ = _scans(rng)
    at = code.index(b"\xff\xc2")
    height, width = struct.unpack(">2H", code[at + 5 : at + 9])
    return tiff(width, height, code, packing=7, samples=3), ".tif"


def _many_strips(rng: np.random.Generator) -> tuple[bytes, str]:
    height = _size(rng, 10_000, 400_000)
    return tiff(1, height, bytes(height), rows=1, strips=[(i, 1) for i in range(height)]), ".tif"


def _extension(rng: np.random.Generator) -> tuple[bytes, str]:
    """Return a NIfTI file of which an extension says that it is long, and is."""
    n = _size(rng, 2**20, 2**28)
    content = nifti(np.zeros((2, 2, 2), np.uint8), extension=struct.pack("<2i", n, 6), offset=360.0)
    deflate = zlib.compressobj(1, wbits=31)
    packed = deflate.compress(content)
    for _ in range(n // 2**20):
        packed += deflate.compress(bytes(2**20))
    return packed + deflate.flush(), ".nii.gz"


def _far_voxels(rng: np.random.Generator) -> tuple[bytes, str]:
    n = _size(rng, 2**20, 2**28)
    deflate = zlib.compressobj(1, wbits=31)
    packed = deflate.compress(nifti(np.zeros((2, 2, 2), np.uint8), offset=float(n)))
    for _ in range(n // 2**20):
        packed += deflate.compress(bytes(2**20))
    return packed + deflate.flush(), ".nii.gz"


def _members(rng: np.random.Generator) -> tuple[bytes, str]:
    empty = gzip.compress(b"", mtime=0)
    content = gzip.compress(nifti(np.zeros((2, 2, 2), np.uint8)), mtime=0)
    name = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * _size(rng, 1000, 2**22) + b"\0"
    start = [empty * _size(rng, 1000, 200_000), name + content[10:]][int(rng.integers(2))]
    return start + content, ".nii.gz"


def _large_nifti(rng: np.random.Generator) -> tuple[bytes, str]:
    content = bytearray(nifti(np.zeros((2, 2, 2), np.uint8)))
    struct.pack_into("<3h", content, 42, *(_size(rng, 200, 32_000) for _ in range(3)))
    struct.pack_into("<h", content, 70, int(rng.choice([2, 4, 16, 64])))
    packed = rng.random() < 0.5
    data = bytes(content) + bytes(_size(rng, 2**10, 2**22))
    return (gzip.compress(data, 1, mtime=0), ".nii.gz") if packed else (data, ".nii")


def _large_dicom(rng: np.random.Generator) -> tuple[bytes, str]:
    content = bytearray(_dicom(_COMPRESSED[int(rng.integers(3))]))
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        at = content.index(tag) + 8
        content[at : at + 2] = struct.pack("<H", _size(rng, 1000, 60_000))
    return bytes(content) + bytes(int(rng.integers(0, 2**20)) // 2 * 2), ".dcm"


BOMBS: dict[str, Bomb] = {
    "large PNG": _large_png, "texts in PNG": _texts, "profile in PNG": _raw_profile,
    "EXIF in PNG": _exif_chunk, "tiny chunks": _tiny_chunks, "private chunk": _private_chunk,
    "scans": _scans, "hidden scans": _hidden_scans, "sequential scans": _sequential_scans,
    "large JPEG": _large_jpeg, "segments": _segments, "EXIF in JPEG": _exif_segment,
    "pages": _pages, "circle of pages": _circle, "large TIFF": _large_tiff,
    "shared strips": _shared_strips, "wide tile": _wide_strip, "heavy entries": _heavy_entries,
    "scans in TIFF": _scans_in_tiff, "many strips": _many_strips,
    "extension": _extension, "far voxels": _far_voxels, "members": _members,
    "large NIfTI": _large_nifti, "large DICOM": _large_dicom,
}  # fmt: skip
