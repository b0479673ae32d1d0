"""Who tells photographs from what a maker makes while it learns: critics, and how pictures are disguised for them.

All take float32 in [-1, 1], (B, 3, 32, 32). None is kept.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

SHIFT, HIDDEN = 4, 16  # pixels, of 32: an eighth and a half, as in DiffAugment


class _Spectral(nn.Module):
    """A kernel divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957), found by one step a call.

    As torch's own, but in float32 wherever it is called, since in bfloat16 the value is off by per cents.
    """

    def __init__(self, kernel: torch.Tensor):
        super().__init__()
        self.register_buffer("left", F.normalize(torch.randn(len(kernel)), dim=0))

    def forward(self, kernel: torch.Tensor) -> torch.Tensor:
        with torch.autocast(kernel.device.type, enabled=False):
            matrix = kernel.flatten(1)
            with torch.no_grad():
                right = F.normalize(matrix.T @ self.left, dim=0)
                left = F.normalize(matrix @ right, dim=0)
                self.left.copy_(left)
            return kernel / (left @ (matrix @ right))


def _normed(layer: nn.Module, spectral: bool) -> nn.Module:
    return parametrize.register_parametrization(layer, "weight", _Spectral(layer.weight)) if spectral else layer


class PatchCritic(nn.Module):
    """How real each 4x4 neighbourhood's surroundings look, (B, 1, 4, 4)."""

    def __init__(self, width: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in [(3, width), (width, 2 * width), (2 * width, 4 * width)]:
            layers += [_normed(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), True), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers, _normed(nn.Conv2d(4 * width, 1, 3, padding=1), True))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


class PlainCritic(nn.Module):
    """How real a picture looks, (B, 1): SNGAN's plain network, as DCGAN's but without batch norm."""

    def __init__(self, width: int = 64, *, spectral: bool):
        super().__init__()
        layers: list[nn.Module] = [_normed(nn.Conv2d(3, width, 3, padding=1), spectral), nn.LeakyReLU(0.1)]
        for inputs in (width, 2 * width, 4 * width):
            halved = nn.Conv2d(inputs, 2 * inputs, 4, stride=2, padding=1)
            layers += [_normed(halved, spectral), nn.LeakyReLU(0.1)]
            layers += [_normed(nn.Conv2d(2 * inputs, 2 * inputs, 3, padding=1), spectral), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), _normed(nn.Linear(8 * width * 16, 1), spectral))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


class ResidualCritic(nn.Module):
    """How real a picture looks, (B, 1): SNGAN's residual network.

    Args:
        widths: channels at sides 32, 16 and 8, as they are halved; the last stay at 4.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256), *, spectral: bool):
        super().__init__()
        halving = [_Halving(inputs, outputs, spectral) for inputs, outputs in pairwise([3, *widths])]
        self.layers = nn.Sequential(*halving, _Halving(widths[-1], widths[-1], spectral, halves=False))
        self.last = _normed(nn.Linear(widths[-1], 1), spectral)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.last(F.leaky_relu(self.layers(pixels), 0.1).sum((2, 3)))


class _Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int, spectral: bool, *, halves: bool = True):
        super().__init__()
        self.first = _normed(nn.Conv2d(inputs, outputs, 3, padding=1), spectral)
        self.second = _normed(nn.Conv2d(outputs, outputs, 3, padding=1), spectral)
        self.short = _normed(nn.Conv2d(inputs, outputs, 1), spectral)
        self.pool = nn.AvgPool2d(2) if halves else nn.Identity()
        self.colours = inputs == 3  # which are not rectified

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.first(x if self.colours else F.leaky_relu(x, 0.1))
        return self.pool(self.second(F.leaky_relu(inner, 0.1))) + self.short(self.pool(x))


def disguise(pictures: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each moved, with grey at the edge, and a square of it made grey (DiffAugment, arXiv 2006.10738).

    A critic that sees photographs and fakes so alike cannot learn the photographs by heart, and the gradient reaches
    the fakes. `rng` lies on the device of the pictures.
    """
    batch, side, device = len(pictures), pictures.shape[-1], pictures.device
    along = torch.arange(side, device=device)
    moves = torch.randint(2 * SHIFT + 1, (2, batch, 1), generator=rng, device=device) + along  # (2, B, 32)
    padded = F.pad(pictures, (SHIFT,) * 4)
    moved = padded.gather(2, moves[0, :, None, :, None].expand(-1, 3, -1, side + 2 * SHIFT))
    moved = moved.gather(3, moves[1, :, None, None, :].expand(-1, 3, side, -1))
    corner = torch.randint(1 - HIDDEN // 2, side - HIDDEN // 2 + 1, (2, batch, 1), generator=rng, device=device)
    within = (along >= corner) & (along < corner + HIDDEN)  # (2, B, 32)
    return moved * ~(within[0, :, None, :, None] & within[1, :, None, None, :])
