"""Optimizers and weight averaging: Muon for convolution kernels, AdamW for all other parameters, EMA."""

from collections.abc import Callable

import torch

from detector.models.base import WithAuxiliaryHead

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, chosen for a steep slope at zero


class Muon(torch.optim.Optimizer):
    """Muon, which orthogonalises each update (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    A convolution kernel is treated as a matrix with a row for each output channel. The algorithm is that of
    `torch.optim.Muon` with the step size matched to AdamW's (Liu et al. 2025, arXiv 2502.16982). It differs in two
    points: it takes kernels, which must be channels-last, and it computes in float32. Torch's version always multiplies
    in bfloat16, a hundred times slower than float32 on CPUs that emulate bfloat16.
    """

    def __init__(self, kernels: list[torch.Tensor], *, lr: float, weight_decay: float, momentum: float = 0.9):
        self.kernels = kernels
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([_matrix(kernel.detach()) for kernel in kernels], defaults)  # share the kernels' memory

    @torch.no_grad()
    def step(self) -> None:
        """Update every kernel from its gradient."""
        (group,) = self.param_groups
        for matrix, kernel in zip(group["params"], self.kernels, strict=True):
            gradient = _matrix(kernel.grad).contiguous()  # the momentum has the same layout before and after a resume
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(gradient)
            mean = self.state[matrix]["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            step = orthogonalise(gradient.lerp(mean, group["momentum"]))
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(step, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Return the matrix with all singular values moved close to 1, by Newton-Schulz iteration.

    Each iteration multiplies by a polynomial of the Gram matrix. We iterate on the smaller Gram matrix and multiply
    once at the end. All is float32, because coarser rounding errors would grow with the iterations.
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
    model: WithAuxiliaryHead, optimizer: str, learning_rate: float, weight_decay: float, *, layer_decay: float = 1.0
) -> list[torch.optim.Optimizer]:
    """Return the optimizers of all parameters that require gradients: AdamW, then Muons if `optimizer` is 'muon'.

    Muon takes the convolution kernels except the first, whose inputs are the pixels (RGB).

    Args:
        model: the detector with its auxiliary head.
        optimizer: 'muon' or 'adamw'.
        learning_rate: that of the heads.
        weight_decay: of matrices and kernels; vectors are not decayed.
        layer_decay: each block's learning rate as a share of the next block's.
    """
    groups, muons = [], []
    for rate, trained in _by_learning_rate(model, learning_rate, layer_decay).items():
        kernels = [p for p in trained if p.ndim == 4 and p.shape[1] > 3] if optimizer == "muon" else []
        rest = {id(p) for p in trained} - {id(p) for p in kernels}
        matrices = [p for p in trained if id(p) in rest and p.ndim > 1]
        vectors = [p for p in trained if p.ndim <= 1]  # biases and normalisation
        groups += [{"params": matrices, "lr": rate, "weight_decay": weight_decay}] if matrices else []
        groups += [{"params": vectors, "lr": rate, "weight_decay": 0.0}] if vectors else []
        muons += [Muon(kernels, lr=rate, weight_decay=weight_decay, momentum=0.9)] if kernels else []
    return [torch.optim.AdamW(groups), *muons]


def _by_learning_rate(
    model: WithAuxiliaryHead, learning_rate: float, layer_decay: float
) -> dict[float, list[torch.nn.Parameter]]:
    """Group the parameters that require gradients by their learning rate, in the model's order."""
    blocks = model.detector.blocks()
    blocks_to_head = {
        id(p): len(blocks) - index
        for index, block in enumerate(blocks)
        for module in block
        for p in module.parameters()
    }
    rates: dict[float, list[torch.nn.Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad:
            rates.setdefault(learning_rate * layer_decay ** blocks_to_head.get(id(p), 0), []).append(p)
    return rates


def ema_average(decay: float) -> Callable[..., None]:
    """Return an exponential moving average for `AveragedModel(multi_avg_fn=...)`.

    The decay rises to `decay` over the first steps, so that the initial weights are forgotten quickly.
    """

    def average(means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor) -> None:
        if means[0].is_floating_point():
            steps = torch._foreach_sub(values, means)
            share = 1 - ((1 + count) / (10 + count)).clamp(max=decay)  # a tensor: a float would wait for the device
            torch._foreach_mul_(steps, share)
            torch._foreach_add_(means, steps)
        else:  # batch norm's number of batches
            torch._foreach_copy_(means, values)

    return average
