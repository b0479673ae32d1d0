"""Optimizers: Muon for the kernels that look at features, AdamW for the rest; and the average of the weights."""

from collections.abc import Callable

import torch
from torch import nn


class Muon(torch.optim.Muon):
    """Muon for convolution kernels: each is orthogonalised as a matrix, a row an output channel.

    torch's own takes matrices alone; these are views into the kernels, which must lie channels-last.
    """

    def __init__(self, kernels: list[torch.Tensor], **options):
        self.kernels = kernels
        super().__init__([_matrix(kernel.detach()) for kernel in kernels], adjust_lr_fn="match_rms_adamw", **options)

    def step(self) -> None:
        for matrix, kernel in zip(self.param_groups[0]["params"], self.kernels, strict=True):
            matrix.grad = _matrix(kernel.grad).contiguous()  # so that its state has one layout, saved or not
        super().step()


def _matrix(kernel: torch.Tensor) -> torch.Tensor:
    return kernel.permute(0, 2, 3, 1).flatten(1)  # (O, I, H, W) -> (O, H W I)


def make_optimizers(
    model: nn.Module, kind: str, learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for what it is for, the kernels that look at features, and AdamW for all else; or AdamW for everything."""
    learnt = list(model.parameters())
    kernels = [p for p in learnt if p.ndim == 4 and p.shape[1] > 3] if kind == "muon" else []
    rest = {id(p) for p in learnt} - {id(p) for p in kernels}
    matrices = [p for p in learnt if id(p) in rest and p.ndim > 1]
    vectors = [p for p in learnt if p.ndim <= 1]  # biases and normalisation
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=learning_rate)]
    if kernels:
        optimizers.append(Muon(kernels, lr=learning_rate, weight_decay=weight_decay, momentum=0.9))
    return optimizers


def ema(decay: float) -> Callable[..., None]:
    """An exponential moving average whose decay warms up, so that it is not held back by the first weights."""

    def average(means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor) -> None:
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, values, 1 - min(decay, (1 + int(count)) / (10 + int(count))))
        else:  # batch normalisation's count of batches
            torch._foreach_copy_(means, values)

    return average
