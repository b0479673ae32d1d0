"""Conversion to CIFAKE's format."""

import io

import numpy as np
import pytest
from PIL import Image

from detector.data.decode import decode_image
from detector.data.images import to_cifake_format


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_all_modes_are_converted(mode):
    image = Image.new("L", (100, 60), 200).convert(mode) if mode != "I;16" else Image.new("I;16", (100, 60), 51200)
    pixels = to_cifake_format(image)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == np.uint8
    if mode != "1":  # dithered
        assert np.abs(pixels.astype(float) - 200).max() <= 3


def test_sixteen_bits_keep_their_range():
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    pixels = to_cifake_format(decode_image(encoded(Image.fromarray(ramp), "PNG")))
    assert pixels.min() < 10
    assert pixels.max() > 245


def test_transparent_pixels_become_white():
    assert to_cifake_format(Image.new("RGBA", (40, 40), (0, 0, 0, 0))).min() >= 253


def test_exif_orientation_is_applied():
    image, exif = Image.new("RGB", (64, 64)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 64, 32))  # the upper half is white
    exif[0x0112] = 3  # rotated by 180 degrees
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    for opened in (Image.open(stream), decode_image(stream.getvalue())):
        pixels = to_cifake_format(opened)
        assert pixels[:, :12].mean() < 20
        assert pixels[:, 20:].mean() > 235


def test_wide_image_gives_its_centre():
    image = Image.new("RGB", (96, 32))
    image.paste((255, 0, 0), (32, 0, 64, 32))
    red = to_cifake_format(image)
    assert red[0].mean() > 245
    assert red[1:].mean() < 10
