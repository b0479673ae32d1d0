"""The device that trains and evaluates, its precision and its memory."""

import ctypes
import functools
import platform
import timeit

import torch
import torch.nn.functional as F
from torch import nn

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # options of glibc's mallopt (malloc.h; man 3 mallopt)
INT_MAX = 2**31 - 1


def pick_device() -> torch.device:
    """Return the accelerator, or the CPU where there is none."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def device_name() -> str:
    """Return the name of the device that `pick_device` returns: the GPU's, or 'cpu, 2 threads'."""
    device = pick_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type


def fast_bfloat16(model: nn.Module, device: torch.device) -> bool:
    """Return whether `model` trains faster in bfloat16 than in float32 on `device`.

    True on CUDA where the hardware multiplies bfloat16 natively. On a CPU a convolution is timed once a process,
    because some CPUs support bfloat16 and are still slower in it. Depthwise convolutions were half as fast in bfloat16
    on every CPU that we timed.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    depthwise = any(module.groups > 1 for module in model.modules() if isinstance(module, nn.Conv2d))
    return device.type == "cpu" and not depthwise and _fast_bfloat16_on_cpu()


@functools.cache
def _fast_bfloat16_on_cpu() -> bool:
    return _convolution_seconds(torch.bfloat16) < _convolution_seconds(torch.float32)


@torch.no_grad()
def _convolution_seconds(dtype: torch.dtype, repeats: int = 5) -> float:
    """Return the shortest of several timings, because other processes use the CPU too."""
    pixels = torch.ones(64, 64, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.ones(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return min(timeit.repeat(lambda: F.conv2d(pixels, kernel, padding=1), number=1, repeat=repeats))


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory, so that each training step need not map its large tensors again.

    Does nothing with another C library. Training on the CPU was a sixth faster with it.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, INT_MAX)
