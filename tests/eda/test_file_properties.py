"""File properties: each reacts to the operation that it names, and to no other."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from detector.data.jpeg import encode_decode
from detector.eda.file_properties import properties


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """Smooth colours with fine noise, as in a photo: 224x224."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8))
    smooth = np.asarray(noise.filter(ImageFilter.GaussianBlur(4)), np.float64)
    smooth = 128 + 5 * (smooth - smooth.mean()) + rng.normal(0, 3, smooth.shape)
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, **settings) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **settings)
    return stream.getvalue()


def test_size():
    measured = properties(Image.new("RGB", (60, 40)), None)
    assert (measured["width"], measured["height"], measured["aspect"]) == (60, 40, 1.5)


@pytest.mark.parametrize("quality", range(60, 96, 5))
def test_quality_is_estimated_from_the_tables_and_from_the_pixels(image, quality):
    measured = properties(encode_decode(image, quality=quality), jpeg(image, quality=quality))
    assert measured["file_quality"] == pytest.approx(quality, abs=3)
    assert measured["pixel_quality"] == pytest.approx(quality, abs=3)


def test_no_quality_explains_pixels_without_compression_or_off_the_grid(image):
    compressed = encode_decode(image, quality=80)
    for view in (image, compressed.crop((3, 3, 224, 224)), compressed.resize((202, 202))):
        assert np.isnan(properties(view, None)["pixel_quality"])


@pytest.mark.parametrize(("subsampling", "code"), [("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)])
def test_the_files_subsampling(image, subsampling, code):
    assert properties(image, jpeg(image, subsampling=subsampling))["file_subsampling"] == code


def test_other_files_have_no_quality(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    for data in (None, stream.getvalue()):
        measured = properties(image, data)
        assert np.isnan(measured["file_quality"]) and np.isnan(measured["file_subsampling"])


def test_blockiness_is_that_of_the_grid_and_moves_with_it(image):
    compressed = encode_decode(image, quality=50)
    before, after = (properties(view, None) for view in (image, compressed))
    shifted = properties(compressed.crop((3, 3, 224, 224)), None)
    assert after["blockiness"] > before["blockiness"] + 0.3
    assert after["grid_aligned"] == 1
    assert shifted["grid_aligned"] == 0
    assert shifted["blockiness_elsewhere"] == pytest.approx(after["blockiness"], abs=0.1)


def test_chroma_loses_resolution_in_the_subsampled_directions(image):
    full, half, quarter = (
        properties(encode_decode(image, quality=95, subsampling=name), None) for name in ("4:4:4", "4:2:2", "4:2:0")
    )
    for name in ("chroma_horizontal", "chroma_vertical"):
        assert quarter[name] < full[name] - 3
    assert half["chroma_horizontal"] < full["chroma_horizontal"] - 3
    assert half["chroma_vertical"] > quarter["chroma_vertical"] + 1


@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_periodicity_shows_the_scale(image, resampling):
    enlarged = image.resize((336, 336), resampling).crop((50, 50, 274, 274))
    measured = properties(enlarged, None)
    assert measured["periodicity"] > 3 * properties(image, None)["periodicity"]
    assert measured["periodicity_frequency"] == pytest.approx(1 / 3, abs=0.01)


def test_jpegs_grid_is_no_sign_of_interpolation(image):
    before, after = (properties(view, None)["periodicity"] for view in (image, encode_decode(image, quality=50)))
    assert after < 2 * before


def test_a_blank_image_has_finite_properties():
    measured = properties(Image.new("RGB", (224, 224), "grey"), None)
    assert np.isfinite(
        [value for name, value in measured.items() if not name.endswith(("quality", "subsampling"))]
    ).all()
