"""Scaling and augmentation of batches of stored pixels.

Evaluation uses `to_unit` alone. Training uses `augment`, then optionally `cutmix`. Augmentation translates by whole
pixels and never interpolates, because resampling would remove the fine texture that distinguishes generated images.
"""

import torch


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """Scale uint8 (B, 3, S, S) to float32 in [0, 1]."""
    return pixels.float().div(255).contiguous(memory_format=torch.channels_last)


def augment(pixels: torch.Tensor, rng: torch.Generator, *, max_translation: int = 2) -> torch.Tensor:
    """Flip each image horizontally with probability 1/2 and translate it at random, with reflected edges.

    Args:
        pixels: uint8 (B, 3, S, S).
        rng: On the device of the pixels; the same state gives the same batch.
        max_translation: The largest translation along each axis, in pixels.

    Returns float32 (B, 3, S, S) in [0, 1].
    """
    batch, side, device = len(pixels), pixels.shape[-1], pixels.device
    flip = torch.rand(batch, generator=rng, device=device) < 0.5
    offset = torch.randint(2 * max_translation + 1, (2, batch, 1), generator=rng, device=device)
    rows = _reflect(offset[0] - max_translation + torch.arange(side, device=device), side)  # (B, S)
    columns = _reflect(offset[1] - max_translation + torch.arange(side, device=device), side)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    index = torch.arange(batch, device=device)[:, None, None]
    moved = pixels.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, S, S, 3)
    return to_unit(moved.permute(0, 3, 1, 2))


def _reflect(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Reflect positions outside 0 ... side - 1 at the nearest edge."""
    last = side - 1
    return last - (last - positions.abs()).abs()


def cutmix(batch: torch.Tensor, rng: torch.Generator, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Paste a square of another image into a share of the images (CutMix, Yun et al. 2019, arXiv 1905.04899).

    The area of a square is uniform between 0 and the image's area; the part outside the image is cut off.

    Args:
        batch: float32 (B, 3, S, S).
        rng: On the device of the batch.
        share: The probability that an image gets a square.

    Returns the mixed batch, the row of the other image, int64 (B,), and the fraction of each image that is its own,
    float32 (B,).
    """
    count, side, device = len(batch), batch.shape[-1], batch.device
    if not share:
        return batch, torch.arange(count, device=device), torch.ones(count, device=device)
    others = torch.randperm(count, generator=rng, device=device)
    sides = side * torch.rand(count, 1, generator=rng, device=device).sqrt()
    pasted = _square_masks(sides, side, rng) & (torch.rand(count, 1, 1, 1, generator=rng, device=device) < share)
    mixed = torch.where(pasted, batch[others], batch).contiguous(memory_format=torch.channels_last)
    return mixed, others, 1 - pasted.float().mean((1, 2, 3))


def _square_masks(sides: torch.Tensor, side: int, rng: torch.Generator) -> torch.Tensor:
    """Return masks of squares with these sides (B, 1), in pixels, around random centres: bool (B, 1, S, S)."""
    centres = torch.randint(side, (2, len(sides), 1), generator=rng, device=sides.device)
    inside = 2 * (torch.arange(side, device=sides.device) - centres).abs() <= sides  # (2, B, S)
    return (inside[0, :, :, None] & inside[1, :, None, :])[:, None]
