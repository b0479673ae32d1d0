"""Measure how accuracy holds under corruptions and under a PGD attack, at the decision threshold 1/2."""

from collections.abc import Mapping

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from detector.core.console import progress
from detector.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from detector.data.dataset import Images
from detector.data.transforms import to_unit
from detector.evaluation.results import slice_of
from detector.inference.predict import predict
from detector.metrics.classification import evaluate

TENTH = slice(None, None, 10)  # the test images that are corrupted
FORTIETH = slice(None, None, 40)  # the test images that are attacked, which takes many gradients each
RADII = (1, 2)  # of the attack, in steps of 1/255
ATTACK_STEPS = 10
ATTACK_BATCH = 8  # images; larger batches of gradients take gigabytes


def corrupt_all(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Apply every corruption at every severity: uint8 (N, 3, 32, 32) each, keyed by the slice of the results.

    Args:
        pixels: those of `test[TENTH]`; unchanged, they are the slice 'every=10'.
    """
    corrupted = {slice_of(every=TENTH.step): pixels}
    for name in progress(CORRUPTIONS, desc="corrupting", unit=" corruptions", delay=1):
        for severity in SEVERITIES:
            key = slice_of(every=TENTH.step, corruption=name, severity=severity)
            corrupted[key] = corrupt(pixels, name, severity)
    return corrupted


def pgd_attack(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, radius: int) -> torch.Tensor:
    """Perturb images so that the model misclassifies them: uint8 (N, 3, 32, 32).

    Projected gradient descent (Madry et al. 2018, arXiv 1706.06083) with full access to the model, from the unchanged
    image: ATTACK_STEPS steps of a quarter of the radius, then rounding to pixel values.

    Args:
        labels: the true ones, int64 (N,).
        radius: largest change of a pixel value, of 255.
    """
    batches = list(zip(pixels.split(ATTACK_BATCH), labels.split(ATTACK_BATCH), strict=True))
    with progress(batches, desc=f"PGD attack, radius {radius}/255", unit=" batches", delay=1) as bar:
        return torch.cat([_attack_batch(model, batch, targets.float(), radius / 255) for batch, targets in bar])


def _attack_batch(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, radius: float) -> torch.Tensor:
    start = to_unit(pixels)
    x = start.clone()
    for _ in range(ATTACK_STEPS):
        x.requires_grad_()
        loss = F.binary_cross_entropy_with_logits(model(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = (x.detach() + radius / 4 * gradient.sign()).clamp(start - radius, start + radius).clamp(0, 1)
    return (255 * x).round().to(torch.uint8)


def robustness_rows(model: nn.Module, test: Images, corrupted: Mapping[str, torch.Tensor]) -> dict[str, pd.DataFrame]:
    """Score a model on corrupted and on attacked test images: a metric table of `evaluate` for each slice.

    Args:
        corrupted: `corrupt_all(test[TENTH].pixels)`, computed once for all models.
    """
    labels, attacked = test.labels[TENTH], test[FORTIETH]
    tables = {key: evaluate(predict(model, pixels), labels) for key, pixels in corrupted.items()}
    for radius in RADII:
        pixels = pgd_attack(model, attacked.pixels, attacked.labels, radius)
        tables[slice_of(every=FORTIETH.step, pgd=radius)] = evaluate(predict(model, pixels), attacked.labels)
    return tables
