"""The one way from pictures to probabilities, for validation, test, report and demo alike."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from detector.memory import keep_freed_memory
from detector.models import Detector
from detector.preprocessing import to_unit
from detector.progress import progress

BATCH = 64  # pictures at a time: more were measured slower, of 224 pixels by half, since a CPU's cache is full


def predict(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """P(FAKE) of each picture: uint8 (N, 3, 32, 32) to float32 (N,) on the CPU, in the order given.

    Always in full float32, so that it does not depend on the batch size or the device (to 1e-5).
    """
    return probabilities(predict_logits(model, pixels, batch_size=batch_size))


def predict_logits(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """The same before the sigmoid: logits of FAKE, float32 (N,)."""
    return _apply(model, model, pixels, batch_size)


def predict_features(model: Detector, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """`Detector.features` of each picture, of length one: uint8 (N, 3, 32, 32) to float32 (N, features)."""
    return F.normalize(predict_raw_features(model, pixels, batch_size=batch_size), dim=1)


def predict_raw_features(model: Detector, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """The same as the head reads them, of whatever length."""
    return _apply(model, model.features, pixels, batch_size)


def predict_distance(model: Detector, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """`Detector.distance` of each picture: uint8 (N, 3, 32, 32) to float32 (N,), as `predict` does it."""
    return _apply(model, model.distance, pixels, batch_size)


@torch.inference_mode()
def _apply(
    model: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """A function of the model's on each batch of pictures, in evaluation mode: float32 (N,) or (N, ...)."""
    keep_freed_memory()
    training, device = model.training, next(model.parameters()).device
    model.eval()
    batches = pixels.split(batch_size) if len(pixels) else ()
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with exact, progress(batches, desc="predicting", unit=" batches", delay=1) as bar:
        parts = [function(to_unit(batch.to(device))).float().cpu() for batch in bar]
    model.train(training)
    return torch.cat(parts) if parts else torch.empty(0)


def probabilities(logits: torch.Tensor | np.ndarray) -> torch.Tensor:
    """P(FAKE) of logits, of the same shape and precision: the only sigmoid."""
    return torch.sigmoid(torch.as_tensor(logits))
