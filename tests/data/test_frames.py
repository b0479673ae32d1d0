"""Borders of one colour are removed to the pixel, and no content is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from sklearn.datasets import load_sample_image

from detector.data.frames import remove_frame

PHOTOS = {name: Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")}  # 640x427
COLOURS = ["black", "white", "grey", "red", "navy", "gold"]


def through_jpeg(image: Image.Image, quality: int = 85, **options) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, **options)
    return Image.open(stream).convert("RGB")


def assert_removed(image: Image.Image, inner: Image.Image, border: tuple[int, int, int, int], slack: int = 0) -> str:
    """Assert that `inner`, which begins after the border (left, top, right, bottom), is left of the image."""
    found, sentence = remove_frame(image)
    assert np.abs(np.subtract(found.size, inner.size)).max() <= 2 * slack
    if not slack:
        assert (
            found.tobytes()
            == image.crop((border[0], border[1], border[0] + inner.width, border[1] + inner.height)).tobytes()
        )
    assert sentence.endswith("removed.")
    return sentence


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("width", [1, 3, 8, 40])
def test_borders_are_removed(name, colour, width):
    image = ImageOps.expand(PHOTOS[name], width, colour)
    sentence = assert_removed(image, PHOTOS[name], (width,) * 4)
    assert sentence.endswith(f"border of {width} pixel{'s' * (width > 1)} was removed.")


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(("width", "quality"), [(3, 80), (3, 95), (8, 60), (8, 90), (40, 60), (40, 90)])
def test_borders_of_jpeg_files_are_removed(name, colour, width, quality):
    image = through_jpeg(ImageOps.expand(PHOTOS[name], width, colour), quality)
    assert_removed(image, PHOTOS[name], (width,) * 4, slack=1)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("border", [(0, 60, 0, 60), (60, 0, 60, 0), (0, 90, 0, 0), (0, 0, 12, 0), (5, 6, 7, 8)])
def test_bars_on_some_sides_are_removed(colour, border):
    assert_removed(ImageOps.expand(PHOTOS["china"], border, colour), PHOTOS["china"], border)
    if colour != "grey":  # as the first columns of the photo
        compressed = through_jpeg(ImageOps.expand(PHOTOS["china"], border, colour))
        assert_removed(compressed, PHOTOS["china"], border, slack=1)


def test_the_sentence_names_colours_and_sides():
    photo = PHOTOS["china"]
    bars = remove_frame(ImageOps.expand(photo, (0, 60, 0, 50), "black"))[1]
    assert bars == "A black border (60 pixels at the top, 50 pixels at the bottom) was removed."
    assert remove_frame(ImageOps.expand(photo, 1, "orange"))[1] == "An orange border of 1 pixel was removed."
    nested = ImageOps.expand(ImageOps.expand(photo, 4, "white"), 8, "black")
    assert remove_frame(nested)[1] == "A black border of 8 pixels and a white border of 4 pixels were removed."


@pytest.mark.parametrize("colours", [("white", "black"), ("black", "white"), ("red", "gold")])
def test_a_frame_in_a_frame_is_removed(colours):
    image = ImageOps.expand(ImageOps.expand(PHOTOS["china"], 3, colours[0]), 20, colours[1])
    assert_removed(image, PHOTOS["china"], (23,) * 4)
    third = ImageOps.expand(image, 5, "navy")
    assert remove_frame(third)[0].size == (646, 433)  # the innermost is left


def test_a_resized_letterbox_is_removed():
    image = ImageOps.expand(PHOTOS["china"], (0, 60), "black").resize((500, 427), Image.Resampling.LANCZOS)
    height = remove_frame(image)[0].height
    assert abs(height - 427 * 427 / 547) <= 4


def test_at_most_half_is_removed():
    small = PHOTOS["china"].resize((100, 100))
    assert remove_frame(ImageOps.expand(small, 45, "black"))[0].size == (100, 100)
    assert remove_frame(ImageOps.expand(small, 55, "black"))[1] == ""
    assert remove_frame(ImageOps.expand(small, (0, 110, 0, 0), "black"))[1] == ""


def product(shape: str) -> Image.Image:
    """Return an object with a soft shadow on a white ground."""
    image = Image.new("RGB", (600, 400), "white")
    ImageDraw.Draw(image).ellipse((150, 280, 480, 350), (150, 150, 150))
    image = image.filter(ImageFilter.GaussianBlur(20))
    box = (170, 80, 430, 320)
    draw = ImageDraw.Draw(image)
    (draw.rectangle if shape == "box" else draw.ellipse)(box, (120, 40, 30))
    return image.filter(ImageFilter.GaussianBlur(0.8))


def night() -> Image.Image:
    """Return a dark sky with few stars over houses with windows."""
    rng = np.random.default_rng(0)
    pixels = rng.poisson(2, (400, 600, 1)).repeat(3, 2).clip(0, 255).astype(np.uint8)
    pixels[rng.integers(250, size=40), rng.integers(600, size=40)] = 200
    for left in range(0, 600, 60):
        pixels[rng.integers(220, 300) :, left : left + 60] += 25
    return Image.fromarray(pixels)


def sea() -> Image.Image:
    """Return a clipped white sky over a slightly tilted horizon."""
    rows, columns = np.mgrid[0:400, 0:600]
    pixels = np.where(rows > 150 + columns / 100, 90, 255)[..., None] + np.random.default_rng(0).normal(
        0, 6, (400, 600, 3)
    )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


RAMP = np.linspace(0, 255, 256)
CONTENT = {
    **PHOTOS,
    "dark": PHOTOS["china"].point(lambda value: value // 8),
    "box on white": product("box"),
    "disc on white": product("disc"),
    "night": night(),
    "sea": sea(),
    "noise": Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)),
    "gradient": Image.fromarray(np.broadcast_to(RAMP[:, None, None], (256, 300, 3)).astype(np.uint8)),
    "soft gradient": Image.fromarray(np.broadcast_to(RAMP[None, :, None] / 3 + 150, (200, 256, 3)).astype(np.uint8)),
    "steep gradient": Image.fromarray(np.broadcast_to(RAMP[::8, None, None], (32, 32, 3)).astype(np.uint8)),
    "plain": Image.new("RGB", (300, 200), "white"),
    "tiny": Image.new("RGB", (1, 1)),
}


@pytest.mark.parametrize("image", CONTENT.values(), ids=CONTENT.keys())
def test_content_is_kept(image):
    for version in (image, through_jpeg(image), image.transpose(Image.Transpose.ROTATE_90)):
        assert remove_frame(version) == (version, "")


def test_text_in_a_bar_keeps_the_bar():
    image = ImageOps.expand(PHOTOS["china"], (0, 60, 0, 0), "black")
    ImageDraw.Draw(image).text((20, 20), "A caption that belongs to the image", "white", font_size=24)
    assert remove_frame(image)[1] == ""


def test_grey_images_keep_their_mode():
    found, sentence = remove_frame(ImageOps.expand(PHOTOS["china"].convert("L"), 8))
    assert found.mode == "L"
    assert sentence == "A black border of 8 pixels was removed."
