"""Decoding one image file to upright 8-bit RGB; errors are one line."""

from __future__ import annotations

import hashlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import open_regular, read_regular

__all__ = ["SUFFIXES", "open_photo", "read_size"]

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "GIF", "WEBP")  # JPEG's reader opens MPO as well
SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in ["jpeg", "jpg", "png", "ppm", "pgm", "bmp", "tif", "tiff", "webp", "gif"]
)
LARGEST = 2**29  # bytes of a file; about Pillow's limit on pixels at three bytes each
NARROWEST = 100  # longer side to shorter; enlarging narrower ones would fill the memory
_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {  # its value -> the operation that undoes it; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = tuple(_TURNS[value] for value in (5, 6, 7, 8))  # these swap width and height
_BROKEN = (OSError, SyntaxError, ValueError, struct.error, EOFError, IndexError, KeyError)


def open_photo(
    path: str | Path,
    name: str,
    size: int | None = None,
    sha256: bytes | None = None,
    *,
    turned: bool = True,
) -> Image.Image:
    """Decode the file at `path`; `name` is for messages.

    Grey, palette, CMYK and other images become RGB. An alpha channel is dropped (not composed), 16
    bits are reduced to the upper 8, EXIF's orientation is undone, and only the first frame is used.
    JPEG's faster draft decoding is not used, since it changes pixels. With `turned` False, EXIF's
    orientation is ignored, for boxes whose coordinates are those of the stored image.

    Raises:
        DataError: the file is missing, unreadable, damaged, far too large or far too narrow, or
            its size in bytes or SHA-256 is not the given one.
    """
    with (
        _named_errors(name),
        _opened(path, name, size, sha256) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        _check_shape(image.size, name)
        image.load()
        rgb, turn = _rgb(image, name), _turn(image) if turned else None
        return rgb if turn is None else rgb.transpose(turn)


def read_size(path: str | Path, name: str, *, turned: bool = True) -> tuple[int, int]:
    """(width, height) of the image that `open_photo` returns, from the file's header.

    Raises DataError as `open_photo` does, for problems that show in the header.
    """
    with (
        _named_errors(name),
        open_regular(path, LARGEST) as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        _check_shape(image.size, name)
        width, height = image.size
        swapped = turned and _turn(image) in _SWAPPING
        return (height, width) if swapped else (width, height)


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    """Turn errors into a DataError that names the file; ignore warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Image.DecompressionBombError:
            raise DataError(f"{name}: far too many pixels for a photograph") from None
        except MemoryError:
            raise DataError(f"{name}: not enough memory to decode it") from None
        except _BROKEN as error:
            raise DataError(f"{name}: {_reason(error)}") from error


def _check_shape(size: tuple[int, int], name: str) -> None:
    """Raise DataError when an image of (width, height) is too narrow to be resized sensibly."""
    if max(size) > NARROWEST * min(size):
        raise DataError(
            f"{name}: {size[0]}x{size[1]} pixels are too narrow for a photograph"
            f" (sides may differ {NARROWEST}-fold)"
        )


def _opened(
    path: str | Path, name: str, size: int | None, sha256: bytes | None
) -> BufferedReader | BytesIO:
    """The file, or its contents if their size or SHA-256 has to be checked."""
    if size is None and sha256 is None:
        return open_regular(path, LARGEST)
    data = read_regular(path, LARGEST)
    known = sha256 is None or hashlib.sha256(data).digest() == sha256
    if size not in (None, len(data)) or not known:
        raise DataError(
            f"{name}: damaged, or changed since its folder was looked through\n"
            "if that is meant, `resnet-repro data prepare DATASET` takes it as it is now;"
            " DATASET (KIND:PATH if it is your own) and --data-dir are those of this command"
        )
    return BytesIO(data)


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's own conversion clips these at 255 instead of scaling them.
        upper = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError(f"{name}: 32 bits a pixel; convert it to 8 bits")
    return image.convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The operation that makes the image upright; None if it is, or EXIF is damaged."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF can raise many errors, and is no reason to refuse an image
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {error.strerror}"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image, or damaged"
    return f"damaged: {plain(str(error), 100) or type(error).__name__}"
