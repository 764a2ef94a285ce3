"""Single image files: every kind becomes upright RGB, or is named in one line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import png_bomb
from PIL import Image

from resnet_repro.base.errors import DataError
from resnet_repro.data.photos.decoding import open_photo, read_size

ORIENTATION = 0x0112
# Four colours in the corners of an upright image, which is wider than high.
UPRIGHT = np.zeros((16, 32, 3), np.uint8)
UPRIGHT[:8, :16], UPRIGHT[:8, 16:] = (250, 10, 10), (10, 250, 10)
UPRIGHT[8:, :16], UPRIGHT[8:, 16:] = (10, 10, 250), (240, 240, 240)


def opened(path: Path) -> np.ndarray:
    image = open_photo(path, path.name)
    assert image.mode == "RGB"
    assert read_size(path, path.name) == image.size
    return np.asarray(image)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA"])
def test_modes_of_png(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode)
    if "A" in mode:
        image.putalpha(0)  # dropped, so that the image stays white
    image.save(tmp_path / "white.png")
    assert (opened(tmp_path / "white.png") == 255).all()


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "p.png", transparency=bytes([255, 0]))
    assert opened(tmp_path / "p.png")[5, 5].tolist() == [10, 200, 30]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    for name, colour, expected in (("red", (0, 255, 255, 0), 0), ("green", (255, 0, 255, 0), 1)):
        Image.new("CMYK", (20, 10), colour).save(tmp_path / f"{name}.jpg")
        pixel = opened(tmp_path / f"{name}.jpg")[5, 5]
        assert pixel[expected] > 200
        assert np.delete(pixel, expected).max() < 50


def write_png16(path: Path, colour_type: int, values: np.ndarray) -> None:
    """A PNG with 16 bits a channel, which Pillow itself can write only in grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, colour_type: int, channels: int) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)
    write_png16(
        tmp_path / "deep.png", colour_type, np.repeat(ramp, 2 * channels).reshape(16, 32, -1)
    )
    grey = opened(tmp_path / "deep.png")[..., 0].reshape(-1)[::2]
    assert np.abs(grey.astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bits_are_named(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (20, 10)).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"^deep\.tif: 32 bits a pixel"):
        open_photo(tmp_path / "deep.tif", "deep.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    do = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(UPRIGHT)
    if orientation in do:
        stored = stored.transpose(do[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"turned.{suffix}"
    stored.save(path, exif=exif, quality=95)
    pixels = np.asarray(open_photo(path, path.name))
    assert pixels.shape == UPRIGHT.shape
    corners = (slice(3, 16, 8), slice(6, 32, 16))
    assert np.abs(pixels[corners].astype(int) - UPRIGHT[corners]).max() < 30


def test_orientation_of_a_grey_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("L", (30, 10)).save(tmp_path / "grey.jpg", exif=exif)
    assert opened(tmp_path / "grey.jpg").shape == (30, 10, 3)


def test_damaged_exif_is_no_reason_to_lose_an_image(tmp_path: Path) -> None:
    Image.fromarray(UPRIGHT).save(
        tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9)
    )
    assert opened(tmp_path / "x.jpg").shape == UPRIGHT.shape


@pytest.mark.parametrize("kind", ["GIF", "MPO"])
def test_first_frame_counts(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "x.jpg", kind, save_all=True, append_images=frames[1:])
    assert np.abs(opened(tmp_path / "x.jpg")[5, 5].astype(int) - [255, 0, 0]).max() < 3


def test_tiny_image_is_an_image(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    assert opened(tmp_path / "dot.png").shape == (1, 1, 3)


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (encoded(Image.effect_noise((64, 64), 50), "jpeg")[:900], "damaged: .*truncated"),
        (encoded(Image.effect_noise((64, 64), 50), "png")[:900], "damaged"),
        (png_bomb(), "far too many pixels"),
        (encoded(Image.new("RGB", (1, 101)), "png"), "1x101 pixels are too narrow"),
    ],
)
def test_bad_file_is_named_in_one_line(tmp_path: Path, contents: bytes, reason: str) -> None:
    path = tmp_path / "x.jpeg"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=rf"^val/bee/x\.jpeg: {reason}") as caught:
        open_photo(path, "val/bee/x.jpeg")
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path) not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    for use in (open_photo, read_size):
        with pytest.raises(DataError, match=r"^gone\.jpg: the file is missing"):
            use(tmp_path / "gone.jpg", "gone.jpg")
