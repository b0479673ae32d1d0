"""Augmentation moves whole pixels, differs by image and by seed, and never changes the stored pixels."""

import pytest
import torch

from detector.data.transforms import augment, augment_and_mix, to_unit


def noise(count: int = 64, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_to_unit_only_scales():
    pixels = noise()
    assert torch.equal((to_unit(pixels) * 255).round().to(torch.uint8), pixels)


def test_augment_moves_whole_pixels():
    """The centre of an augmented image occurs once in the image or its mirror image, exactly."""
    pixels = noise(16)
    for augmented, image in zip(augment(pixels, rng()), to_unit(pixels), strict=True):
        found = [
            torch.equal(augmented[:, 4:28, 4:28], source[:, 4 + dy : 28 + dy, 4 + dx : 28 + dx])
            for source in (image, image.flip(2))
            for dy in range(-2, 3)
            for dx in range(-2, 3)
        ]
        assert sum(found) == 1


@pytest.mark.parametrize("side", [32, 48])
def test_edges_are_reflected_as_by_pytorchs_padding(side):
    pixels = noise(16, side)
    padded = torch.nn.functional.pad(to_unit(pixels), (3,) * 4, mode="reflect")
    for augmented, image in zip(augment(pixels, rng(), max_translation=3), padded, strict=True):
        crops = [image[:, top : top + side, left : left + side] for top in range(7) for left in range(7)]
        assert sum(torch.equal(augmented, crop) or torch.equal(augmented, crop.flip(2)) for crop in crops) == 1


def test_augment_differs_by_image_and_seed():
    pixels = noise(1).expand(200, -1, -1, -1)
    augmented = augment(pixels, rng(0))
    assert len({image.numpy().tobytes() for image in augmented}) > 40  # of 50 possible
    assert torch.equal(augmented, augment(pixels, rng(0)))
    assert not torch.equal(augmented, augment(pixels, rng(1)))


def test_augment_keeps_the_stored_pixels():
    pixels = noise()
    before = pixels.clone()
    augment(pixels, rng())
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("side", [32, 48])
def test_cutmix_pastes_a_square_and_returns_its_area(side):
    pixels = noise(200, side)
    batch = augment(pixels, rng())  # the same moves, because they are drawn first
    mixed, others, own = augment_and_mix(pixels, rng(), slice(None), max_translation=2, cutmix=0.5)
    pasted = (mixed != batch).any(1)  # (B, S, S)
    for row, (image, mask, other, fraction) in enumerate(zip(mixed, pasted, batch[others], own, strict=True)):
        if fraction < 1 and others[row] != row:
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            square = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert torch.equal(image[:, mask], other[:, mask])
            assert square.float().mean() > 0.9  # pixels of equal colour do not count as pasted
            assert abs(1 - square.numel() / side**2 - fraction) < 1e-6
        else:
            assert not mask.any()
    assert 0.3 < (own < 1).float().mean() < 0.6  # some squares are empty, some images get a square of themselves


def test_cutmix_of_no_images_only_augments():
    pixels = noise()
    mixed, others, own = augment_and_mix(pixels, rng(), slice(None), max_translation=2, cutmix=0.0)
    assert torch.equal(mixed, augment(pixels, rng()))
    assert torch.equal(others, torch.arange(len(pixels)))
    assert (own == 1).all()


@pytest.mark.parametrize("cutmix", [0.0, 0.5])
@pytest.mark.parametrize("processes", [2, 4])
def test_rows_do_not_depend_on_the_rows_that_are_asked_for(cutmix, processes):
    pixels, options = noise(), {"max_translation": 2, "cutmix": cutmix}
    whole = augment_and_mix(pixels, rng(), slice(None), **options)
    own = len(pixels) // processes
    slices = [slice(first, first + own) for first in range(0, len(pixels), own)]
    shares = [augment_and_mix(pixels, rng(), rows, **options) for rows in slices]
    for expected, found in zip(whole, zip(*shares, strict=True), strict=True):
        assert torch.equal(expected, torch.cat(found))
