"""A sheet of thumbnails for notebooks, complete in itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIDE = 112  # pixels


def sheet_html(images: NDArray[np.uint8], labels: Sequence[str], title: str) -> str:
    """Return images with a label under each, as HTML.

    Parameters
    ----------
    images : ndarray of shape (N, C, H, W), uint8
        Grey (one channel) or RGB images.
    labels : sequence of str
        One per image.
    title : str
        What they are.

    Returns
    -------
    str
        Pictures inside the text: nothing is loaded from elsewhere.
    """
    figures = "".join(
        f'<figure style="margin:0;width:{_SIDE}px">'
        f'<img alt="image {html.escape(label)}" width="{_SIDE}" height="{_SIDE}" '
        'style="object-fit:contain;background:#000;display:block" '
        f'src="data:image/png;base64,{_png(image)}">'
        f'<figcaption style="font-size:0.8em;text-align:center">{html.escape(label)}'
        "</figcaption></figure>"
        for image, label in zip(images, labels, strict=True)
    )
    return (
        f'<div style="font-family:sans-serif;max-width:60em"><p>{html.escape(title)}</p>'
        f'<div style="display:flex;flex-wrap:wrap;gap:6px">{figures}</div></div>'
    )


def _png(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
