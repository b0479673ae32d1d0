"""The networks for images at native resolution: frozen features of CLIP, or of a small network, and a linear head."""

import torch
from torch import nn

from detector.models.base import Detector
from detector.models.encoder import FEATURES, embed
from detector.models.transfer import PIXEL_MEAN, PIXEL_STD, published_weights, rename_weights

SMALL = "efficientnet_lite0"
SMALL_FEATURES = 2912


class Native(Detector):
    """Frozen features of crops of 224×224 pixels with a linear head.

    `training.native` sets two more buffers:
        limits: P(FAKE) up to which an image is REAL, and from which it is FAKE, (2,); the model abstains in between.
        photo_head: weights and bias of a linear score of an overview's features; above 0 the image shows no photo.

    Args:
        backbone: 'clip', whose file is not part of the weights (`models.encoder`), or SMALL, which is.
        pretrained: start from ImageNet weights; `load_model` does not need them.
    """

    def __init__(self, *, backbone: str = "clip", pretrained: bool = False):
        count = FEATURES if backbone == "clip" else SMALL_FEATURES
        super().__init__(count)
        self.config = {"backbone": backbone}
        self.backbone = None if backbone == "clip" else StageStatistics(pretrained=pretrained)
        self.register_buffer("limits", torch.tensor([0.5, 0.5]))
        self.register_buffer("photo_head", torch.zeros(count + 1))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.backbone is None:
            return embed((pixels * 255).round().to(torch.uint8).cpu()).to(pixels.device)
        return self.backbone(pixels)

    def no_photo_score(self, features: torch.Tensor) -> torch.Tensor:
        """Return a score, (B,), of the features of overviews, (B, features): above 0 the image shows no photo."""
        return features @ self.photo_head[:-1] + self.photo_head[-1]


class StageStatistics(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946): mean and deviation of each stage's channels.

    The statistics of early stages describe texture and noise, those of late stages content. The network's own pooled
    features follow: float32 pixels in [0, 1], (B, 3, S, S), become (B, 2912).
    """

    def __init__(self, *, pretrained: bool):
        import timm

        super().__init__()
        self.network = timm.create_model(f"tf_{SMALL}", num_classes=0)
        if pretrained:
            self.network.load_state_dict(rename_weights(published_weights(SMALL), self.network.state_dict()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        network = self.network
        stages = [network.bn1(network.conv_stem((pixels - PIXEL_MEAN) / PIXEL_STD))]
        for block in network.blocks:
            stages.append(block(stages[-1]))
        statistics = [part for stage in stages for part in (stage.mean((2, 3)), stage.std((2, 3)))]
        return torch.cat([*statistics, network.forward_head(network.bn2(network.conv_head(stages[-1])))], dim=1)
