"""Views at native resolution: sizes, scales, places, and that the same seed gives the same view."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.data.views import (
    REDUCED_SIDE,
    VIEW_SIDE,
    evaluation_view,
    overview,
    random_crops,
    scored_crops,
    training_view,
)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(256, 256), (256, 200), (150, 256), (100, 100)])
def test_every_view_has_the_same_size(size):
    rng = np.random.default_rng(0)
    assert {training_view(noise(*size), rng).size for _ in range(20)} == {(VIEW_SIDE, VIEW_SIDE)}
    assert evaluation_view(noise(*size)).size == overview(noise(*size)).size == (VIEW_SIDE, VIEW_SIDE)


def test_the_evaluation_view_is_the_unscaled_centre():
    image = noise(256, 256)
    assert np.array_equal(evaluation_view(image), image.crop((16, 16, 240, 240)))


def test_the_same_seed_gives_the_same_training_view():
    image = noise(256, 256)
    one, again, other = (training_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("size", "count"), [((128, 128), 1), ((300, 300), 1), ((700, 300), 2), ((800, 600), 4), ((1024, 1024), 4)]
)
def test_a_small_image_gives_crops_of_itself_only(size, count):
    image = noise(*size)
    crops, boxes = scored_crops(image)
    assert crops.shape == (count, 3, VIEW_SIDE, VIEW_SIDE) and len(boxes) == count
    if min(size) >= VIEW_SIDE:
        for crop, box in zip(crops, boxes, strict=True):
            assert torch.equal(crop, TF.pil_to_tensor(image.crop(box)))
    else:
        assert boxes == [(0, 0, *size)]


@pytest.mark.parametrize("size", [(3000, 2000), (2000, 3000), (1025, 130)])
def test_a_large_image_also_gives_crops_of_a_reduced_copy(size):
    image = noise(*size)
    crops, boxes = scored_crops(image)
    assert crops.shape == (7, 3, VIEW_SIDE, VIEW_SIDE)
    widths = [right - left for left, _, right, _ in boxes]
    assert all(0 <= left < right <= size[0] and 0 <= top < bottom <= size[1] for left, top, right, bottom in boxes)
    if min(size) >= VIEW_SIDE:
        assert widths[:5] == [VIEW_SIDE] * 5
        assert widths[5:] == pytest.approx([VIEW_SIDE * max(size) / REDUCED_SIDE] * 2, abs=1)


def test_a_wide_image_keeps_its_aspect():
    """A disc stays a disc in an overview: nothing is squeezed."""
    y, x = np.mgrid[:400, :900]
    disc = Image.fromarray(np.where((x - 450) ** 2 + (y - 200) ** 2 < 100**2, 255, 0).astype(np.uint8)).convert("RGB")
    inside = np.asarray(overview(disc))[..., 0] > 127
    assert inside.any(0).sum() == pytest.approx(inside.any(1).sum(), abs=2)


def test_random_crops_add_a_reduced_copy_for_large_images():
    rng = np.random.default_rng(0)
    assert [crop.size for crop in random_crops(noise(300, 260), rng)] == [(256, 256)] * 3
    assert [crop.size for crop in random_crops(noise(1200, 900), rng)] == [(256, 256)] * 5
    assert {crop.size for crop in random_crops(noise(200, 180), rng)} == {(180, 180)}
