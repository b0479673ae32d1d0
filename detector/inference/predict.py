"""Turn pixels into probabilities: the only path from images to P(FAKE), for every set and for the demo."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from detector.core.console import progress
from detector.core.device import keep_freed_memory
from detector.data.transforms import to_unit
from detector.models.base import Detector

BATCH = 64  # images; larger batches are slower on a CPU, by half at 224 pixels, because they overflow its cache


def predict(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """Return P(FAKE) for each image: uint8 (N, 3, 32, 32) to float32 (N,) on the CPU, in the order given.

    All work is in full float32, so that the result depends neither on the batch size nor on the device (to 1e-5).
    """
    return probabilities(predict_logits(model, pixels, batch_size=batch_size))


def predict_logits(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """Return the logit of FAKE for each image: uint8 (N, 3, 32, 32) to float32 (N,)."""
    return _apply(model, model, pixels, batch_size)


def predict_features(
    model: Detector, pixels: torch.Tensor, *, normalise: bool = True, batch_size: int = BATCH
) -> torch.Tensor:
    """Return the features before the head: uint8 (N, 3, 32, 32) to float32 (N, features).

    Args:
        normalise: scale each image's features to unit length, as the OOD score needs them.
    """
    features = _apply(model, model.features, pixels, batch_size)
    return F.normalize(features, dim=1) if normalise else features


def predict_ood_scores(model: Detector, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """Return `Detector.ood_score` for each image: uint8 (N, 3, 32, 32) to float32 (N,)."""
    return _apply(model, model.ood_score, pixels, batch_size)


@torch.inference_mode()
def _apply(
    model: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """Apply one of the model's functions batch by batch in evaluation mode: float32 (N,) or (N, ...) on the CPU."""
    keep_freed_memory()
    training, device = model.training, next(model.parameters()).device
    model.eval()
    batches = pixels.split(batch_size) if len(pixels) else ()
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with exact, progress(batches, desc="predicting", unit=" batches", delay=1) as bar:
        outputs = [function(to_unit(batch.to(device))).float().cpu() for batch in bar]
    model.train(training)
    return torch.cat(outputs) if outputs else torch.empty(0)


def probabilities(logits: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Return P(FAKE) for logits, in their shape and precision. No other code applies a sigmoid."""
    return torch.sigmoid(torch.as_tensor(logits))
