"""Augmentation moves whole pixels, differs by picture and by epoch, and never touches evaluation."""

import torch

from detector.preprocessing import augment, to_unit


def pictures(count: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_to_unit_only_scales():
    pixels = pictures()
    assert torch.equal((to_unit(pixels) * 255).round().to(torch.uint8), pixels)


def test_augment_moves_whole_pixels():
    """The middle of each view is somewhere in the picture or its mirror image, exactly."""
    pixels = pictures(16)
    for view, picture in zip(augment(pixels, rng()), to_unit(pixels), strict=True):
        found = [
            torch.equal(view[:, 4:28, 4:28], source[:, 4 + dy : 28 + dy, 4 + dx : 28 + dx])
            for source in (picture, picture.flip(2))
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert sum(found) == 1


def test_augment_varies_over_pictures_and_seeds_alone():
    pixels = pictures(1).expand(200, -1, -1, -1)
    views = augment(pixels, rng(0))
    assert len({view.numpy().tobytes() for view in views}) > 40  # of the 50 there are
    assert torch.equal(views, augment(pixels, rng(0)))
    assert not torch.equal(views, augment(pixels, rng(1)))


def test_augment_leaves_the_data_alone():
    pixels = pictures()
    before = pixels.clone()
    augment(pixels, rng())
    assert torch.equal(pixels, before)
