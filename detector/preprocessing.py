"""From stored pixels to a model's input: one way for training, one for everything else.

Both take uint8 (B, 3, S, S), S being 32 for CIFAKE, and give float32 in [0, 1] of that shape. Augmentation moves whole
pixels and never interpolates: resampling would wipe out the fine texture that tells a generated picture.
"""

import torch


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """Evaluation: uint8 to float32 in [0, 1], nothing else."""
    return pixels.float().div(255).contiguous(memory_format=torch.channels_last)


def augment(pixels: torch.Tensor, rng: torch.Generator, *, shift: int = 2) -> torch.Tensor:
    """Training: each picture mirrored with probability 1/2 and moved by up to `shift` pixels, edges reflected.

    Args:
        pixels: uint8 (B, 3, S, S).
        rng: on the device of the pixels; the same state gives the same batch.
        shift: the largest move, in pixels, along each axis.
    """
    batch, side, device = len(pixels), pixels.shape[-1], pixels.device
    flip = torch.rand(batch, generator=rng, device=device) < 0.5
    offset = torch.randint(2 * shift + 1, (2, batch, 1), generator=rng, device=device)
    rows = _reflected(offset[0] - shift + torch.arange(side, device=device), side)  # (B, S)
    columns = _reflected(offset[1] - shift + torch.arange(side, device=device), side)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    index = torch.arange(batch, device=device)[:, None, None]
    moved = pixels.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, S, S, 3)
    return to_unit(moved.permute(0, 3, 1, 2))


def _reflected(places: torch.Tensor, side: int) -> torch.Tensor:
    """Places beyond the edges, 0 and side - 1, mirrored there."""
    last = side - 1
    return last - (last - places.abs()).abs()


def cut_mix(batch: torch.Tensor, rng: torch.Generator, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training: into a share of the pictures a square of another is pasted (Yun et al. 2019, arXiv 1905.04899).

    Float32 (B, 3, S, S) to such a batch, the other's row for each, int64 (B,), and the picture's own part, (B,) in
    [0, 1]. The square has a share of the picture's area that is drawn evenly, less what lies outside.
    """
    count, side, device = len(batch), batch.shape[-1], batch.device
    if not share:
        return batch, torch.arange(count, device=device), torch.ones(count, device=device)
    others = torch.randperm(count, generator=rng, device=device)
    sides = side * torch.rand(count, 1, generator=rng, device=device).sqrt()
    pasted = _squares(sides, side, rng) & (torch.rand(count, 1, 1, 1, generator=rng, device=device) < share)
    mixed = torch.where(pasted, batch[others], batch).contiguous(memory_format=torch.channels_last)
    return mixed, others, 1 - pasted.float().mean((1, 2, 3))


def _squares(sides: torch.Tensor, side: int, rng: torch.Generator) -> torch.Tensor:
    """Squares of these sides (B, 1), in pixels, around middles drawn at random: bool (B, 1, S, S), S being `side`."""
    middles = torch.randint(side, (2, len(sides), 1), generator=rng, device=sides.device)
    inside = 2 * (torch.arange(side, device=sides.device) - middles).abs() <= sides  # (2, B, S)
    return (inside[0, :, :, None] & inside[1, :, None, :])[:, None]
