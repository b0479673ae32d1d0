"""CIFAKE's format and crops of larger images."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from detector.data.decode import decode_image
from detector.data.images import CroppedImages, crop_image, to_cifake_format
from detector.data.jpeg import encode_decode


def noise_image(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def encoded(image: Image.Image, format_: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_all_modes_are_converted(mode):
    image = Image.new("L", (100, 60), 200).convert(mode) if mode != "I;16" else Image.new("I;16", (100, 60), 51200)
    pixels = to_cifake_format(image)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    if mode != "1":  # dithered
        assert (pixels.float() - 200).abs().max() <= 3


def test_sixteen_bits_keep_their_range():
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    pixels = to_cifake_format(decode_image(encoded(Image.fromarray(ramp), "PNG")))
    assert pixels.min() < 10
    assert pixels.max() > 245


@pytest.mark.parametrize(("size", "crops"), [((20, 90), 0), ((63, 200), 0), ((64, 64), 9), ((90, 300), 9)])
def test_images_from_64_pixels_on_have_nine_crops(size, crops):
    image = noise_image(*size)
    cropped = crop_image(image)
    assert len(cropped) == 1
    assert torch.equal(cropped.full[0], to_cifake_format(image))
    assert cropped.crops.shape == (crops, 3, 32, 32)
    assert cropped.owner.tolist() == [0] * crops


def test_crops_are_squares_of_the_centre_square_at_64_pixels():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    enlarged = np.pad(noise.repeat(3, 0).repeat(3, 1), ((0, 0), (60, 60), (0, 0)))  # columns outside the square
    crops = iter(crop_image(Image.fromarray(enlarged)).crops)
    for top in (0, 16, 32):
        for left in (0, 16, 32):
            expected = encode_decode(Image.fromarray(noise[top : top + 32, left : left + 32]))
            assert next(crops).permute(1, 2, 0).tolist() == np.array(expected).tolist()


def test_crops_are_of_the_upright_image():
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    noise_image(90, 70).save(stream, "PNG", exif=exif)
    with Image.open(stream) as rotated:
        upright = crop_image(Image.fromarray(np.array(rotated.rotate(-90, expand=True))))
        cropped = crop_image(rotated)
    assert torch.equal(cropped.full, upright.full)
    assert torch.equal(cropped.crops, upright.crops)


def test_cropped_images_are_joined_with_their_owners():
    items = [crop_image(noise_image(*size)) for size in ((70, 70), (40, 40), (90, 70))]
    joined = CroppedImages.join(items)
    assert len(joined) == 3
    assert joined.owner.tolist() == [0] * 9 + [2] * 9
    assert torch.equal(joined.full, torch.cat([item.full for item in items]))
    assert torch.equal(joined.crops[9:], items[2].crops)
    twice = CroppedImages.join([joined, joined])
    assert twice.owner.tolist() == [0] * 9 + [2] * 9 + [3] * 9 + [5] * 9


def test_a_function_of_pixels_is_applied_to_images_and_crops():
    def invert(pixels: torch.Tensor) -> torch.Tensor:
        assert len(pixels)
        return 255 - pixels

    cropped = crop_image(noise_image(70, 70))
    inverted = cropped.map(invert)
    assert torch.equal(inverted.full, 255 - cropped.full)
    assert torch.equal(inverted.crops, 255 - cropped.crops)
    assert torch.equal(inverted.owner, cropped.owner)
    full = CroppedImages.without_crops(cropped.full).map(invert)
    assert torch.equal(full.full, inverted.full)
    assert full.crops.shape == (0, 3, 32, 32)
    assert full.owner.dtype == torch.int64


def test_transparent_pixels_become_white():
    assert to_cifake_format(Image.new("RGBA", (40, 40), (0, 0, 0, 0))).min() >= 253


def test_exif_orientation_is_applied():
    image, exif = Image.new("RGB", (64, 64)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 64, 32))  # the upper half is white
    exif[0x0112] = 3  # rotated by 180 degrees
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    for opened in (Image.open(stream), decode_image(stream.getvalue())):
        pixels = to_cifake_format(opened).float()
        assert pixels[:, :12].mean() < 20
        assert pixels[:, 20:].mean() > 235


def test_wide_image_gives_its_centre():
    image = Image.new("RGB", (96, 32))
    image.paste((255, 0, 0), (32, 0, 64, 32))
    red = to_cifake_format(image)
    assert red[0].float().mean() > 245
    assert red[1:].float().mean() < 10
