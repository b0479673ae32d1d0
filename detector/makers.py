"""Networks that make pictures: autoencoders, their critic, a denoiser.

Small ones, trained here on photographs, so that a detector meets more ways of making a picture than one: the content
is the photographs', or close to it, and only the making differs (B-Free, Guillaro et al. 2024, arXiv 2412.17671). All
work on float32 in [-1, 1], (B, 3, 32, 32).
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def _nearest(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))


def _bilinear(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(inputs, outputs, 3, padding=1))


def _transposed(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def _shuffled(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))


UPSAMPLERS: dict[str, Callable[[int, int], nn.Module]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "transposed": _transposed,
    "shuffled": _shuffled,
}


def _decoder(widths: tuple[int, ...], upsampler: str) -> nn.Sequential:
    """Doubles the side at each step from one width to the next; ends in colours."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [UPSAMPLERS[upsampler](inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Tanh())


class Autoencoder(nn.Module):
    """A picture through a bottleneck of `latent` channels and back.

    Args:
        latent: channels of the bottleneck.
        halvings: how often the side is halved, 2 for 8x8 or 3 for 4x4.
        upsampler: one of UPSAMPLERS.
    """

    def __init__(self, *, latent: int, halvings: int, upsampler: str, width: int = 16):
        super().__init__()
        widths = [width * 2**step for step in range(halvings + 1)]
        encoder: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for inputs, outputs in pairwise(widths):
            encoder += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, nn.Conv2d(widths[-1], latent, 1))
        self.decoder = nn.Sequential(nn.Conv2d(latent, widths[-1], 1), _decoder(tuple(widths[::-1]), upsampler))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(pixels))


class Critic(nn.Module):
    """How real each 4x4 neighbourhood's surroundings look, (B, 1, 4, 4): spectral normalisation (arXiv 1802.05957)."""

    def __init__(self, width: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in [(3, width), (width, 2 * width), (2 * width, 4 * width)]:
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)), nn.LeakyReLU(0.1)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels)


class Denoiser(nn.Module):
    """The velocity from picture to noise at time t, by a small U-Net (Lipman et al. 2022, arXiv 2210.02747).

    Takes (1 - t) x picture + t x noise, and t (B,) in [0, 1]; gives its guess of noise - picture.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 4 * width))
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList([_Block(width, width), _Block(width, 2 * width), _Block(2 * width, 4 * width)])
        self.middle = _Block(4 * width, 4 * width)
        self.up = nn.ModuleList([_Block(8 * width, 2 * width), _Block(4 * width, width), _Block(2 * width, width)])
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, pixels: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        waves = time[:, None] * torch.pi * 2.0 ** torch.arange(8)  # (B, 8)
        shift = self.time(torch.cat([waves.sin(), waves.cos()], 1))  # (B, 4 width)
        x, skips = self.first(pixels), []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.middle(x + shift[:, :, None, None])
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], 1))
        return self.last(x)


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(),
        )  # fmt: skip
