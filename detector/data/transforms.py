"""Scaling and augmentation of batches of stored pixels.

Evaluation uses `to_unit` alone. Training uses `augment_and_mix`. Augmentation translates by whole pixels and never
interpolates, because resampling would remove the fine texture that distinguishes generated images.
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
    return _move(pixels, *_draw_moves(len(pixels), rng, max_translation))


def augment_and_mix(
    pixels: torch.Tensor, rng: torch.Generator, rows: slice, *, max_translation: int, cutmix: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Augment some rows of a batch as `augment` does, and mix them by CutMix (Yun et al. 2019, arXiv 1905.04899).

    CutMix pastes a square of another image of the batch into a share of the images. The area of a square is uniform
    between 0 and the image's area; the part outside the image is cut off. The random numbers are those of the whole
    batch, so that a row does not depend on the rows that are asked for: each process computes its own.

    Args:
        pixels: uint8 (B, 3, S, S), the whole batch.
        rng: On the device of the pixels.
        rows: R rows of the batch.
        max_translation: The largest translation along each axis, in pixels.
        cutmix: The probability that an image gets a square.

    Returns the mixed images, float32 (R, 3, S, S) in [0, 1]; the row of the other image in the batch, int64 (R,); and
    the fraction of each image that is its own, float32 (R,).
    """
    batch, device = len(pixels), pixels.device
    flip, offset = _draw_moves(batch, rng, max_translation)
    moved = _move(pixels[rows], flip[rows], offset[:, rows])
    if not cutmix:
        return moved, torch.arange(batch, device=device)[rows], torch.ones(len(moved), device=device)
    others, pasted = _draw_squares(batch, pixels.shape[-1], rng, cutmix)
    others, pasted = others[rows], pasted[rows]
    partners = moved[others] if len(moved) == batch else _move(pixels[others], flip[others], offset[:, others])
    mixed = torch.where(pasted, partners, moved).contiguous(memory_format=torch.channels_last)
    return mixed, others, 1 - pasted.float().mean((1, 2, 3))


def _draw_moves(batch: int, rng: torch.Generator, max_translation: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which images are flipped, bool (B,), and the translations in pixels, int64 (2, B, 1)."""
    flip = torch.rand(batch, generator=rng, device=rng.device) < 0.5
    offset = torch.randint(2 * max_translation + 1, (2, batch, 1), generator=rng, device=rng.device)
    return flip, offset - max_translation


def _move(pixels: torch.Tensor, flip: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Flip and translate uint8 (B, 3, S, S) as `_draw_moves` says; return float32 in [0, 1]."""
    side, device = pixels.shape[-1], pixels.device
    rows = _reflect(offset[0] + torch.arange(side, device=device), side)  # (B, S)
    columns = _reflect(offset[1] + torch.arange(side, device=device), side)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    index = torch.arange(len(pixels), device=device)[:, None, None]
    moved = pixels.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, S, S, 3)
    return to_unit(moved.permute(0, 3, 1, 2))


def _reflect(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Reflect positions outside 0 ... side - 1 at the nearest edge."""
    last = side - 1
    return last - (last - positions.abs()).abs()


def _draw_squares(batch: int, side: int, rng: torch.Generator, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row of the other image, int64 (B,), and the pixels to paste, bool (B, 1, S, S)."""
    others = torch.randperm(batch, generator=rng, device=rng.device)
    sides = side * torch.rand(batch, 1, generator=rng, device=rng.device).sqrt()
    masks = _square_masks(sides, side, rng)
    return others, masks & (torch.rand(batch, 1, 1, 1, generator=rng, device=rng.device) < share)


def _square_masks(sides: torch.Tensor, side: int, rng: torch.Generator) -> torch.Tensor:
    """Return masks of squares with these sides (B, 1), in pixels, around random centres: bool (B, 1, S, S)."""
    centres = torch.randint(side, (2, len(sides), 1), generator=rng, device=sides.device)
    inside = 2 * (torch.arange(side, device=sides.device) - centres).abs() <= sides  # (2, B, S)
    return (inside[0, :, :, None] & inside[1, :, None, :])[:, None]
