"""Two baseline networks for the speed study, built after the descriptions of their sources."""

import torch
from torch import nn

from detector.models.base import Detector

CHANNELS = ((3, 32), (32, 64), (64, 128))  # inputs and outputs of each stage, of both networks


def usual_cnn() -> nn.Sequential:
    """Return the usual CNN of course projects: three convolutions and 25.8 million parameters.

    It maps float32 pixels in [0, 1], (B, 3, 224, 224), to logits (B,).
    Source: GitHub stefsyrsiri/synthetic-image-detection.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in CHANNELS:
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(128 * 28 * 28, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 1), nn.Flatten(0))


class CompactCNN(Detector):
    """A compact CNN with 288 thousand parameters and 38.6 million MACs at 32 pixels.

    GitHub leyixu26/cifake-detection reports 288k parameters and 38.9M MACs. Pairs of convolutions with 32, 64 and 128
    channels match these counts; the layers of that repository were not available.
    """

    def __init__(self):
        super().__init__(128)
        self.config = {}
        layers: list[nn.Module] = []
        for inputs, outputs in CHANNELS:
            for channels in (inputs, outputs):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return features (B, 128) of float32 pixels in [0, 1], (B, 3, 32, 32)."""
        return self.layers((pixels - 0.5) * 4).mean((2, 3))
