"""Views at native resolution: sizes, scales, places, and that the same seed gives the same view."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms.v2.functional import center_crop

from detector.data.jpeg import encode_decode
from detector.data.views import (
    CROP_SIDE,
    REDUCED_SIDE,
    VIEW_SIDE,
    _centre,
    overview,
    random_crops,
    scored_crops,
    scored_view,
    training_view,
)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(256, 256), (256, 200), (150, 256), (100, 100)])
def test_every_view_has_the_same_size(size):
    rng = np.random.default_rng(0)
    assert {training_view(noise(*size), rng).size for _ in range(20)} == {(VIEW_SIDE, VIEW_SIDE)}
    assert overview(noise(*size)).size == (VIEW_SIDE, VIEW_SIDE)


def test_the_same_seed_gives_the_same_training_view():
    image = noise(256, 256)
    one, again, other = (training_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("size", "places"), [((128, 128), 1), ((300, 300), 1), ((700, 300), 2), ((800, 600), 4), ((1024, 1024), 4)]
)
def test_a_small_image_gives_at_least_four_views_of_itself(size, places):
    crops, boxes = scored_crops(noise(*size))
    assert crops.shape == (4, 3, VIEW_SIDE, VIEW_SIDE) and len(boxes) == 4 and len(set(boxes)) == places
    assert not np.array_equal(crops[0], crops[1])
    side = min(CROP_SIDE, *size)
    assert all((right - left, bottom - top) == (side, side) for left, top, right, bottom in boxes)


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000), (1025, 130)])
def test_a_large_image_also_gives_crops_of_a_reduced_copy(size):
    crops, boxes = scored_crops(noise(*size))
    assert crops.shape == (7, 3, VIEW_SIDE, VIEW_SIDE)
    widths = [right - left for left, _, right, _ in boxes]
    assert all(0 <= left < right <= size[0] and 0 <= top < bottom <= size[1] + 1 for left, top, right, bottom in boxes)
    if min(size) >= 2 * CROP_SIDE:
        assert widths[:5] == [CROP_SIDE] * 5
        assert widths[5:] == pytest.approx([CROP_SIDE * max(size) / REDUCED_SIDE] * 2, abs=1)


def test_a_scored_view_is_resized_and_compressed():
    image = noise(256, 256)
    views = [scored_view(image, place) for place in range(4)]
    assert {view.size for view in views} == {(VIEW_SIDE, VIEW_SIDE)}
    resized = image.resize((VIEW_SIDE, VIEW_SIDE), Image.Resampling.BICUBIC)
    assert np.array_equal(views[0], encode_decode(resized, quality=90, subsampling="4:2:0"))
    assert not np.array_equal(views[0], views[1])


def test_the_same_image_always_gives_the_same_views():
    image = noise(500, 400)
    assert np.array_equal(scored_crops(image)[0], scored_crops(image)[0])


def test_a_wide_image_keeps_its_aspect():
    """A disc stays a disc in an overview: nothing is squeezed."""
    y, x = np.mgrid[:400, :900]
    disc = Image.fromarray(np.where((x - 450) ** 2 + (y - 200) ** 2 < 100**2, 255, 0).astype(np.uint8)).convert("RGB")
    inside = np.asarray(overview(disc))[..., 0] > 127
    assert inside.any(0).sum() == pytest.approx(inside.any(1).sum(), abs=2)


def test_random_crops_add_a_reduced_copy_for_large_images():
    rng = np.random.default_rng(0)
    assert [crop.size for crop in random_crops(noise(300, 260), rng)] == [(256, 256)] * 2
    assert [crop.size for crop in random_crops(noise(1200, 900), rng)] == [(256, 256)] * 3
    assert {crop.size for crop in random_crops(noise(200, 180), rng)} == {(180, 180)}


@pytest.mark.parametrize("size", [(40, 30), (41, 30), (40, 31), (43, 33), (224, 224)])
def test_the_centre_is_that_of_torchvision(size):
    """torchvision cut the views that trained the released models."""
    width, height = size[0] - 9, size[1] - 6
    assert np.array_equal(_centre(noise(*size), width, height), center_crop(noise(*size), [height, width]))
