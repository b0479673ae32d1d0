"""The base class of all detectors: head, calibration buffers, OOD score, test-time augmentation and layer blocks."""

import torch
import torch.nn.functional as F
from torch import nn

BANK_SIZE = 500  # training images in the feature bank
BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)  # in training by one process, or by several on GPUs
NEIGHBOURS = 5  # the OOD score is the distance to this nearest neighbour


class Detector(nn.Module):
    """Map float32 pixels in [0, 1], (B, 3, S, S), to logits of FAKE, (B,).

    A subclass computes features; a linear head, divided by the temperature, gives the logit. Normalisation, resizing
    and temperature live inside the model, so that training, evaluation and demo preprocess alike.

    `inference.calibration.calibrate` sets the buffers:
        temperature: divides the logits (Guo et al. 2017, arXiv 1706.04599).
        confidence_threshold: in [1/2, 1]; the model abstains unless the likelier class is more probable than this.
        feature_bank: features of training images, normalised to length 1, (BANK_SIZE, features).
        ood_threshold: an image with a higher OOD score counts as out-of-distribution.

    Args:
        features: number of features.
        flip_tta: average the logits of the image and its horizontal flip in evaluation mode, at twice the cost.
        train_batch_norm: update batch-norm statistics in training, except in frozen layers.
    """

    def __init__(self, features: int, *, flip_tta: bool = False, train_batch_norm: bool = True):
        super().__init__()
        self.flip_tta, self.train_batch_norm = flip_tta, train_batch_norm
        self.head = nn.Linear(features, 1)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("confidence_threshold", torch.tensor(0.5))
        self.register_buffer("feature_bank", torch.zeros(BANK_SIZE, features))
        self.register_buffer("ood_threshold", torch.tensor(2.0))  # the largest cosine distance: nothing is OOD

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the features, (B, features), of float32 pixels in [0, 1], (B, 3, S, S)."""
        raise NotImplementedError

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits of FAKE, (B,), for features, (B, features)."""
        return self.head(features).squeeze(1) / self.temperature

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = self.classify(self.features(pixels))
        if self.flip_tta and not self.training:
            logits = (logits + self.classify(self.features(pixels.flip(3)))) / 2
        return logits

    def ood_score(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the OOD score of each image, (B,) in [0, 2]: its `knn_distance`."""
        return self.knn_distance(self.features(pixels))

    def knn_distance(self, features: torch.Tensor) -> torch.Tensor:
        """Return the distance of features, (B, features), to the feature bank, (B,) in [0, 2].

        The distance is 1 - cosine similarity to the NEIGHBOURS-th nearest feature (Sun et al. 2022, arXiv 2204.06507).
        """
        cosines = F.normalize(features, dim=1) @ self.feature_bank.T  # (B, BANK_SIZE)
        return 1 - cosines.topk(NEIGHBOURS, dim=1).values[:, -1]

    def train(self, mode: bool = True) -> "Detector":
        """Set training mode; frozen batch-norm layers keep their statistics, or all without `train_batch_norm`."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, BATCH_NORMS) and not (self.train_batch_norm and module.weight.requires_grad):
                module.eval()
        return self

    def blocks(self) -> list[list[nn.Module]]:
        """Return the modules that a recipe can freeze or train more slowly, from the input on, without the head.

        They are the children with weights of the network, or of its backbone where it has one. Sequential children are
        split into their elements; a batch norm joins the convolution before it.
        """
        blocks: list[list[nn.Module]] = []
        for child in getattr(self, "backbone", self).children():
            for module in child if isinstance(child, nn.Sequential) else [child]:
                if isinstance(module, BATCH_NORMS):
                    blocks[-1].append(module)
                elif module is not self.head and any(True for _ in module.parameters()):
                    blocks.append([module])
        return blocks


class WithAuxiliaryHead(nn.Module):
    """A detector in training with a second head that classifies the object class and the label together.

    The head starts at zero, so that the detector's weights and the recipe's seed determine the training.

    Args:
        detector: the detector, whose features both heads share.
        object_classes: number of object classes; the auxiliary target has twice as many values.
    """

    def __init__(self, detector: Detector, object_classes: int):
        super().__init__()
        self.detector = detector
        self.auxiliary = nn.Linear(detector.head.in_features, 2 * object_classes)
        nn.init.zeros_(self.auxiliary.weight)
        nn.init.zeros_(self.auxiliary.bias)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits of FAKE, (B,), and of the auxiliary target, (B, 2 * object_classes)."""
        features = self.detector.features(pixels)
        return self.detector.classify(features), self.auxiliary(features)
