"""Augmentation moves whole pixels, differs by picture and by epoch, and never touches evaluation."""

import pytest
import torch

from detector.preprocessing import augment, cut_mix, to_unit


def pictures(count: int = 64, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


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


@pytest.mark.parametrize("side", [32, 48])
def test_beyond_the_edges_a_picture_is_mirrored(side):
    """As torch's own padding does it: a move is a part of the picture so padded."""
    pixels = pictures(16, side)
    padded = torch.nn.functional.pad(to_unit(pixels), (3,) * 4, mode="reflect")
    for view, wide in zip(augment(pixels, rng(), shift=3), padded, strict=True):
        parts = [wide[:, top : top + side, left : left + side] for top in range(7) for left in range(7)]
        assert sum(torch.equal(view, part) or torch.equal(view, part.flip(2)) for part in parts) == 1


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


@pytest.mark.parametrize("side", [32, 48])
def test_cut_mix_pastes_a_square_of_another_and_says_how_much_is_left(side):
    batch = to_unit(pictures(200, side))
    mixed, others, own = cut_mix(batch, rng(), 0.5)
    pasted = (mixed != batch).any(1)  # (B, S, S)
    for row, (picture, mask, other, part) in enumerate(zip(mixed, pasted, batch[others], own, strict=True)):
        if part < 1 and others[row] != row:
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            square = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert torch.equal(picture[:, mask], other[:, mask])
            assert square.float().mean() > 0.9  # where both have a colour by chance it seems to be left out
            assert abs(1 - square.numel() / side**2 - part) < 1e-6
        else:
            assert not mask.any()
    assert 0.3 < (own < 1).float().mean() < 0.6  # some squares have no pixel, some pictures are pasted into themselves


def test_cut_mix_of_none_leaves_all_as_it_is():
    batch = to_unit(pictures())
    mixed, others, own = cut_mix(batch, rng(), 0.0)
    assert torch.equal(mixed, batch)
    assert torch.equal(others, torch.arange(len(batch)))
    assert (own == 1).all()
