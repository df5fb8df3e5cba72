"""Image files from untrusted senders, decoded to the pixels that a network takes.

No message quotes a file's own text, and nothing is decoded before its size is known.
"""

import io
from typing import Any

from PIL import Image, MpoImagePlugin, WebPImagePlugin  # noqa: F401 - PIL would look for them among all formats

from lambda_inference import BadRequest

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Accepted formats, by PIL's names; PIL reads many more, some of them through other programs."""
MAX_PIXELS = 25_000_000
"""Pixels of an image: 100 MB as red, green, blue and alpha."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The turn that makes an image upright, by its orientation (Exif 3.0, 4.6.5.1.1)."""

Image.MAX_IMAGE_PIXELS = None  # the bound below is stricter, and an answer instead of a warning


def decode(data: bytes | memoryview, mode: str, field: str) -> tuple[Image.Image, dict[str, Any]]:
    """Return an image's pixels in a mode, and its format, width and height.

    The first frame of an animation; turned upright; transparent parts white; 16 bits scaled to 8.

    Args:
        data: the file.
        mode: ``L`` or ``RGB``.
        field: the request's field that has it, for errors.

    Raises:
        BadRequest: the file is not an image of one of the ``FORMATS``, too large, or damaged.

    """
    if not len(data):
        raise BadRequest(f"{field} holds no bytes; it takes an image", field=field)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - PIL's readers raise whatever a damaged file leads them to
        raise BadRequest(
            f"{field} is not an image of a format that is taken ({', '.join(FORMATS)}), or has no whole "
            "header",
            field=field,
        ) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadRequest(
            f"{field} has {width:,} x {height:,} pixels, and {MAX_PIXELS:,} are taken at most; shrink it",
            field=field,
        )
    kind = "JPEG" if image.format == "MPO" else image.format  # several JPEGs in a row, as some cameras save
    try:
        image.load()
        image = _flatten(_turn_upright(image), mode)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - see above
        raise BadRequest(
            f"{field} is a damaged {kind}: it cannot be decoded to its end; send the whole file", field=field
        ) from None
    width, height = image.size
    return image, {"format": kind, "width": width, "height": height}


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - damaged metadata do no harm to the pixels
        turn = None
    return image if turn is None else image.transpose(turn)


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Return 8-bit pixels without transparency; PIL's own conversions cut 16 bits off, and ignore alpha."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L").convert(mode)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert(mode)
