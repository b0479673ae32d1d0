"""Networks that draw pictures from noise alone, each enlarging in its own way: float32 in [-1, 1], (B, 3, 32, 32)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from detector.makers import UPSAMPLERS

LATENT = 128  # numbers that a picture is drawn of


class Generator(nn.Module):
    """Pictures of noise alone: `layers` take codes (B, LATENT) to pictures."""

    layers: nn.Module

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """`count` pictures; `rng` lies on the network's device."""
        return self(torch.randn(count, LATENT, generator=rng, device=rng.device))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.layers(codes)


class TransposedGenerator(Generator):
    """DCGAN's (Radford et al. 2015, arXiv 1511.06434): transposed convolutions up to the colours, batch norm."""

    def __init__(self, width: int = 256):
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(LATENT, width * 16), nn.Unflatten(1, (width, 4, 4))]
        for inputs in (width, width // 2):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(), UPSAMPLERS["transposed"](inputs, inputs // 2)]
        last = [nn.BatchNorm2d(width // 4), nn.ReLU(), UPSAMPLERS["transposed"](width // 4, 3), nn.Tanh()]
        self.layers = nn.Sequential(*layers, *last)
        for layer in self.layers:
            if isinstance(layer, nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)


class ResidualGenerator(Generator):
    """SNGAN's (Miyato et al. 2018, arXiv 1802.05957): residual blocks, nearest neighbours, batch norm.

    Args:
        widths: channels at sides 4, 8, 16 and 32.
    """

    def __init__(self, widths: Sequence[int] = (192, 160, 128, 64)):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(LATENT, widths[0] * 16),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *[_Enlarging(inputs, outputs) for inputs, outputs in pairwise(widths)],
            nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.Conv2d(widths[-1], 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip


class _Enlarging(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), UPSAMPLERS["nearest"](inputs, outputs),
            nn.BatchNorm2d(outputs), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1),
        )  # fmt: skip
        self.short = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + F.interpolate(self.short(x), scale_factor=2)


class ShuffledGenerator(Generator):
    """Progressive GAN's manner (Karras et al. 2017, arXiv 1710.10196), but sub-pixel convolutions; no batch norm.

    Args:
        widths: channels at sides 4, 8, 16 and 32.
    """

    def __init__(self, widths: Sequence[int] = (160, 96, 80, 48)):
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(LATENT, widths[0] * 16), nn.Unflatten(1, (widths[0], 4, 4)), _PixelNorm()]
        for inputs, outputs in pairwise(widths):
            layers += [UPSAMPLERS["shuffled"](inputs, outputs), nn.LeakyReLU(0.2), _PixelNorm()]
            layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.2), _PixelNorm()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 3, 1), nn.Tanh())


class _PixelNorm(nn.Module):
    """Each place's features brought to a mean square of one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-6).rsqrt().to(x.dtype)


class StyleGenerator(Generator):
    """StyleGAN2's, small (Karras et al. 2019, arXiv 1912.04958): modulated kernels, noise, colours summed over sides.

    Args:
        widths: channels at sides 4, 8, 16 and 32.
    """

    def __init__(self, widths: Sequence[int] = (160, 144, 128, 64)):
        super().__init__()
        self.mapping = nn.Sequential(
            _PixelNorm(), nn.Linear(LATENT, LATENT), nn.LeakyReLU(0.2), nn.Linear(LATENT, LATENT), nn.LeakyReLU(0.2)
        )
        for layer in (self.mapping[1], self.mapping[3]):
            nn.init.kaiming_normal_(layer.weight, 0.2)
        self.start = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.first = _Styled(widths[0], widths[0])
        self.enlarged = nn.ModuleList([_Styled(inputs, outputs) for inputs, outputs in pairwise(widths)])
        self.again = nn.ModuleList([_Styled(width, width) for width in widths[1:]])
        self.colours = nn.ModuleList([nn.Conv2d(width, 3, 1) for width in widths])

    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        codes = torch.randn(count, LATENT, generator=rng, device=rng.device)
        sides = (4, 8, 8, 16, 16, 32, 32)
        return self(codes, [torch.randn(count, 1, side, side, generator=rng, device=rng.device) for side in sides])

    def forward(self, codes: torch.Tensor, noises: list[torch.Tensor]) -> torch.Tensor:
        """Codes (B, LATENT), and noise for each layer, (B, 1, side, side)."""
        style, noise = self.mapping(codes), iter(noises)
        x = self.first(self.start.expand(len(codes), -1, -1, -1), style, next(noise))
        picture = self.colours[0](x)
        for enlarged, again, colours in zip(self.enlarged, self.again, self.colours[1:], strict=True):
            x = again(enlarged(_twice(x), style, next(noise)), style, next(noise))
            picture = _twice(picture) + colours(x)
        return picture.tanh()  # StyleGAN2 has none; photographs end at -1 and 1


class _Styled(nn.Module):
    """A 3x3 convolution whose kernel's input channels are scaled by the style, and its outputs to unit variance."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.strength = nn.Parameter(torch.zeros(1, 1, 1))  # of the noise
        self.style = nn.Linear(LATENT, inputs)
        nn.init.normal_(self.style.weight, std=LATENT**-0.5)  # styles differ from the first step on
        nn.init.ones_(self.style.bias)

    def forward(self, x: torch.Tensor, style: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        scale = self.style(style)  # (B, inputs)
        power = scale.square() @ self.kernel.square().sum((2, 3)).T  # (B, outputs)
        x = F.conv2d(x * scale[:, :, None, None], self.kernel, padding=1)
        x = x * (power + 1e-6).rsqrt()[:, :, None, None].to(x.dtype)
        return F.leaky_relu(x + (self.strength * noise + self.bias).to(x.dtype), 0.2) * 2**0.5


def _twice(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")
