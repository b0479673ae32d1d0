"""Optimizers: Muon for the kernels that look at features, AdamW for the rest; and the average of the weights."""

from collections.abc import Callable

import torch

from detector.models import TwoTargets

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, chosen to rise steeply at zero


class Muon(torch.optim.Optimizer):
    """Muon for convolution kernels: each is orthogonalised as a matrix, a row an output channel.

    As torch's own, with the step's size matched to AdamW's (Liu et al. 2025, arXiv 2502.16982), except that it takes
    kernels, which must lie channels-last, and works in float32: torch's always multiplies in bfloat16, which CPUs
    without it emulate a hundred times more slowly than float32.
    """

    def __init__(self, kernels: list[torch.Tensor], *, lr: float, weight_decay: float, momentum: float = 0.9):
        self.kernels = kernels
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([_matrix(kernel.detach()) for kernel in kernels], defaults)  # views into the kernels

    @torch.no_grad()
    def step(self) -> None:
        """One step of every kernel, by its gradient."""
        (group,) = self.param_groups
        for matrix, kernel in zip(group["params"], self.kernels, strict=True):
            gradient = _matrix(kernel.grad).contiguous()  # so that its state has one layout, saved or not
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(gradient)
            mean = self.state[matrix]["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            step = orthogonalise(gradient.lerp(mean, group["momentum"]))
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(step, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The matrix with all its singular values brought near 1, by Newton and Schulz's iteration.

    Each of its steps multiplies by a polynomial of the matrix times its transpose, so that it is enough to follow that
    square, the short way, and to multiply once in the end. In full float32: coarser rounding would grow with the steps.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    gram = wide @ wide.T
    product = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    for _ in range(steps):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c)  # b gram + c gram^2 ...
        step.diagonal().add_(a)  # ... + a
        product = step @ product
        gram = step @ gram @ step
    wide = product @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def _matrix(kernel: torch.Tensor) -> torch.Tensor:
    return kernel.permute(0, 2, 3, 1).flatten(1)  # (O, I, H, W) -> (O, H W I)


def make_optimizers(
    model: TwoTargets, kind: str, learning_rate: float, weight_decay: float, *, block_rate: float = 1.0
) -> list[torch.optim.Optimizer]:
    """Muon for what it is for, the kernels that look at features, and AdamW for all else; or AdamW for everything.

    Each of the detector's blocks has `block_rate` times the rate of what follows it, up to the heads' learning_rate.
    What requires no gradient is left out.
    """
    groups, muons = [], []
    for rate, learnt in _by_rate(model, learning_rate, block_rate).items():
        kernels = [p for p in learnt if p.ndim == 4 and p.shape[1] > 3] if kind == "muon" else []
        rest = {id(p) for p in learnt} - {id(p) for p in kernels}
        matrices = [p for p in learnt if id(p) in rest and p.ndim > 1]
        vectors = [p for p in learnt if p.ndim <= 1]  # biases and normalisation
        groups += [{"params": matrices, "lr": rate, "weight_decay": weight_decay}] if matrices else []
        groups += [{"params": vectors, "lr": rate, "weight_decay": 0.0}] if vectors else []
        muons += [Muon(kernels, lr=rate, weight_decay=weight_decay, momentum=0.9)] if kernels else []
    return [torch.optim.AdamW(groups), *muons]


def _by_rate(model: TwoTargets, learning_rate: float, block_rate: float) -> dict[float, list[torch.nn.Parameter]]:
    """What learns, in the model's order, by the rate that it learns at."""
    blocks = model.detector.blocks()
    depth = {  # of each parameter: how many steps it is before the heads
        id(p): len(blocks) - place for place, block in enumerate(blocks) for part in block for p in part.parameters()
    }
    rates: dict[float, list[torch.nn.Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad:
            rates.setdefault(learning_rate * block_rate ** depth.get(id(p), 0), []).append(p)
    return rates


def ema(decay: float) -> Callable[..., None]:
    """An exponential moving average whose decay warms up, so that it is not held back by the first weights."""

    def average(means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor) -> None:
        if means[0].is_floating_point():
            steps = torch._foreach_sub(values, means)
            torch._foreach_mul_(
                steps, 1 - ((1 + count) / (10 + count)).clamp(max=decay)
            )  # not read back from the device
            torch._foreach_add_(means, steps)
        else:  # batch normalisation's count of batches
            torch._foreach_copy_(means, values)

    return average
