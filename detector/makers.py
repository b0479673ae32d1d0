"""Networks that make pictures: autoencoders and a denoiser; those that draw from noise alone are in `generators`.

Taught here on photographs, so that a detector meets more ways of making a picture than one. Autoencoders give back what
they see, more or less (as B-Free has it, Guillaro et al. 2024, arXiv 2412.17671), generators draw from noise, the
denoiser does both. All work on float32 in [-1, 1], (B, 3, 32, 32).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


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


class Denoiser(nn.Module):
    """The velocity from picture to noise at time t, by a U-Net (Lipman et al. 2022, arXiv 2210.02747).

    Takes (1 - t) x picture + t x noise, and t (B,) in [0, 1]; gives its guess of noise - picture.

    Args:
        widths: channels at sides 32, 16, 8, where there is attention too; multiples of 4.
        blocks: of each side, down and up again.
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 160), blocks: int = 2):
        super().__init__()
        steps = 4 * widths[0]
        self.time = nn.Sequential(nn.Linear(16, steps), nn.SiLU(), nn.Linear(steps, steps), nn.SiLU())
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        attends, before = [False] * (len(widths) - 1) + [True], widths[0]
        for width, attend in zip(widths, attends, strict=True):
            inputs = [before] + [width] * (blocks - 1)
            self.down.append(nn.ModuleList([_Block(some, width, steps, attends=attend) for some in inputs]))
            before = width
        self.middle = _Block(before, before, steps, attends=True)
        for width, attend in zip(reversed(widths), reversed(attends), strict=True):
            inputs = [before + width] + [2 * width] * (blocks - 1)
            self.up.append(nn.ModuleList([_Block(some, width, steps, attends=attend) for some in inputs]))
            before = width
        self.norm = _Norm(before)
        self.last = nn.Conv2d(before, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, pixels: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        waves = time[:, None] * torch.pi * 2.0 ** torch.arange(8, device=time.device)  # (B, 8)
        time = self.time(torch.cat([waves.sin(), waves.cos()], 1))
        x, skips = self.first(pixels), []
        for depth, level in enumerate(self.down):
            x = F.avg_pool2d(x, 2) if depth else x
            for block in level:
                x = block(x, time)
                skips.append(x)
        x = self.middle(x, time)
        for depth, level in enumerate(self.up):
            x = F.interpolate(x, scale_factor=2) if depth else x
            for block in level:
                x = block(torch.cat([x, skips.pop()], 1), time)
        return self.last(F.silu(self.norm(x)))


class _Block(nn.Module):
    """Two convolutions, between them the time as scale and shift; then attention, where there is; both residual."""

    def __init__(self, inputs: int, outputs: int, steps: int, *, attends: bool):
        super().__init__()
        self.before, self.between = _Norm(inputs), _Norm(outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.short = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.time = nn.Linear(steps, 2 * outputs)
        self.attention = _Attention(outputs) if attends else nn.Identity()
        nn.init.zeros_(self.second.weight)  # each block begins as its short cut

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        inner = self.first(F.silu(self.before(x)))
        inner = self.between(inner) * (1 + scale) + shift
        return self.attention(self.short(x) + self.second(F.silu(inner)))


class _Attention(nn.Module):
    """Every place attends to every other, in four heads."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = _Norm(width)
        self.asked = nn.Conv2d(width, 3 * width, 1)
        self.last = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, width, height, breadth = x.shape
        heads = self.asked(self.norm(x)).reshape(batch, 3, 4, width // 4, height * breadth).transpose(3, 4).contiguous()
        mixed = F.scaled_dot_product_attention(*heads.unbind(1))  # (B, 4, places, width / 4)
        return x + self.last(mixed.transpose(2, 3).reshape(x.shape))


class _Norm(nn.LayerNorm):
    """Layer normalisation of each place's channels, in the precision that it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, weight, bias).permute(0, 3, 1, 2)
