"""The two networks that the project's speed is compared with, after their sources' descriptions."""

import torch
from torch import nn

from detector.models import Detector


class UsualCNN(nn.Module):
    """Three convolutions at 224 pixels and 25.8 million parameters (GitHub stefsyrsiri/synthetic-image-detection)."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Linear(128 * 28 * 28, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(128, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers(pixels).squeeze(1)  # (B, 3, 224, 224) -> (B,)


class CompactCNN(Detector):
    """288 thousand parameters and 38.6 million MACs at 32 pixels.

    The counts of GitHub leyixu26/cifake-detection (288k, 38.9M) fit pairs of convolutions of 32, 64 and 128 channels;
    that repository's own layers were not at hand.
    """

    def __init__(self):
        super().__init__(128)
        self.config = {}
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
            for channels in (inputs, outputs):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layers((pixels - 0.5) * 4).mean((2, 3))  # (B, 3, 32, 32) -> (B, 128)
