"""What a training runs on, and in which precision."""

import functools
import timeit

import torch
import torch.nn.functional as F
from torch import nn


def pick_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def fast_bfloat16(model: nn.Module, device: torch.device) -> bool:
    """Whether training `model` on `device` in bfloat16 is faster than in float32.

    On CUDA it is where the hardware multiplies bfloat16 natively. On a CPU it is measured, once a process: some
    multiply it natively and yet more slowly. Depthwise convolutions were half as fast in it wherever they were tried.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    depthwise = any(module.groups > 1 for module in model.modules() if isinstance(module, nn.Conv2d))
    return device.type == "cpu" and not depthwise and _fast_bfloat16_on_cpu()


@functools.cache
def _fast_bfloat16_on_cpu() -> bool:
    """Time a convolution of 64 channels in both; the better of five tries each, since others use the machine too."""
    return _convolution_seconds(torch.bfloat16) < _convolution_seconds(torch.float32)


@torch.no_grad()
def _convolution_seconds(dtype: torch.dtype, repeats: int = 5) -> float:
    pixels = torch.ones(64, 64, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.ones(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return min(timeit.repeat(lambda: F.conv2d(pixels, kernel, padding=1), number=1, repeat=repeats))
