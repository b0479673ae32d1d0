"""Time what the machine can do at best, for comparison with the speed of training and prediction."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one call that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def matrix_macs_per_second(dtype: torch.dtype, repeats: int, size: int = 2048) -> float:
    """Return the MACs per second of a product of two square matrices."""
    left, right = torch.randn(2, size, size).to(dtype)
    return size**3 / median_seconds(lambda: left @ right, repeats)


def convolution_seconds(model: nn.Module, batch: int, dtype: torch.dtype, repeats: int, *, backward: bool) -> float:
    """Return the time of the model's convolutions alone, each at its own shapes, for one batch of 32-pixel images."""
    shapes: list[tuple[nn.Conv2d, torch.Size]] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda m, x: shapes.append((m, x[0].shape))) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(batch, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return sum(_one_convolution(layer, shape, dtype, repeats, backward) for layer, shape in shapes)


def _one_convolution(layer: nn.Conv2d, shape: torch.Size, dtype: torch.dtype, repeats: int, backward: bool) -> float:
    with torch.no_grad():
        weight = layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        pixels = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
    forward = lambda: F.conv2d(pixels, weight, stride=layer.stride, padding=layer.padding)  # noqa: E731
    if not backward:
        with torch.no_grad():
            return median_seconds(forward, repeats)
    weight.requires_grad_()
    inputs = [weight]
    if shape[1] > 3:  # training does not need the gradient of the image
        inputs.append(pixels.requires_grad_())
    gradient = torch.randn_like(forward())
    return median_seconds(lambda: torch.autograd.grad(forward(), inputs, gradient), repeats)
