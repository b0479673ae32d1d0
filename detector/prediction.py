"""The one way from pictures to probabilities, for validation, test, report and demo alike."""

import numpy as np
import torch
from torch import nn

from detector.preprocessing import to_unit
from detector.progress import progress

BATCH = 125  # pictures at a time: their features fit into a CPU's cache, which those of 500 were measured not to


def predict(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """P(FAKE) of each picture: uint8 (N, 3, 32, 32) to float32 (N,) on the CPU, in the order given.

    Always in full float32, so that it does not depend on the batch size or the device (to 1e-5).
    """
    return probabilities(predict_logits(model, pixels, batch_size=batch_size))


@torch.inference_mode()
def predict_logits(model: nn.Module, pixels: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """The same before the sigmoid: logits of FAKE, float32 (N,)."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    batches = pixels.split(batch_size) if len(pixels) else ()
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with exact, progress(batches, desc="predicting", unit=" batches", delay=1) as bar:
        logits = [model(to_unit(batch.to(device))).float().cpu() for batch in bar]
    model.train(training)
    return torch.cat([torch.empty(0), *logits])


def probabilities(logits: torch.Tensor | np.ndarray) -> torch.Tensor:
    """P(FAKE) of logits, of the same shape and precision: the only sigmoid."""
    return torch.sigmoid(torch.as_tensor(logits))
