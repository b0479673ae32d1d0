"""The CNN that is trained from scratch."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from detector.models.base import Detector


def conv_block(inputs: int, outputs: int, *, pool: bool = False, relu: bool = True) -> nn.Sequential:
    """Return a 3x3 convolution, 2x2 max-pooling if `pool`, batch normalisation, and ReLU if `relu`."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] if pool else []
    layers += [nn.BatchNorm2d(outputs)]
    layers += [nn.ReLU()] if relu else []
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions with a skip connection (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(conv_block(width, width), conv_block(width, width, relu=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))  # (B, width, H, W)


class CNN(Detector):
    """A small residual network: a stem at full resolution, then stages that each halve the resolution.

    The first convolutions work on unscaled pixels, because generated images differ from photos in fine texture.
    Global average pooling and a linear layer produce the logit.

    Args:
        widths: channels of each stage; multiples of 16 run fastest on a CPU.
        stem: channels of the first convolution.
        residuals: residual blocks in each stage.
        flip_tta: average the logits of the image and its horizontal flip in evaluation mode.
    """

    def __init__(
        self, *, widths: Sequence[int] = (32, 64, 128), stem: int = 32, residuals: int = 1, flip_tta: bool = False
    ):
        super().__init__(widths[-1], flip_tta=flip_tta)
        self.config = {"widths": list(widths), "stem": stem, "residuals": residuals, "flip_tta": flip_tta}
        self.stem = conv_block(3, stem)
        stages = [
            nn.Sequential(conv_block(inputs, outputs, pool=True), *(Residual(outputs) for _ in range(residuals)))
            for inputs, outputs in pairwise((stem, *widths))
        ]
        self.stages = nn.Sequential(*stages)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.stem((pixels - 0.5) * 4)  # (B, 3, S, S) -> (B, stem, S, S); CIFAKE's standard deviation is about 1/4
        x = self.stages(x)  # (B, widths[-1], S / 8, S / 8) with three stages
        return x.mean((2, 3))
