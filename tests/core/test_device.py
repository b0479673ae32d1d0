"""The device's precision is chosen by measurement, and freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest
import torch

from detector.core import device

RESIDENT = """
import os
from pathlib import Path
import torch
from detector.core.device import keep_freed_memory
if {kept}:
    keep_freed_memory()
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20  # MiB
before = resident()
torch.ones(100 * 2**18)  # 100 MiB, freed at once
print(resident() - before)
"""


@pytest.mark.parametrize("slower", [torch.float32, torch.bfloat16])
def test_bfloat16_is_used_only_where_it_was_measured_to_be_faster(monkeypatch, small_cnn, slower):
    monkeypatch.setattr(device, "_convolution_seconds", lambda dtype: 2.0 if dtype == slower else 1.0)
    device._fast_bfloat16_on_cpu.cache_clear()
    cpu, depthwise = torch.device("cpu"), torch.nn.Conv2d(8, 8, 3, groups=8)
    assert device.fast_bfloat16(small_cnn, cpu) == (slower == torch.float32)
    assert not device.fast_bfloat16(depthwise, cpu)
    device._fast_bfloat16_on_cpu.cache_clear()


@pytest.mark.skipif(torch.accelerator.is_available(), reason="tests the CPU's name")
def test_the_cpu_is_named_with_its_threads():
    assert device.device_name() == f"cpu, {torch.get_num_threads()} threads"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
@pytest.mark.parametrize("kept", [False, True])
def test_freed_memory_is_kept_only_on_request(kept):
    run = subprocess.run([sys.executable, "-c", RESIDENT.format(kept=kept)], capture_output=True, text=True, check=True)
    assert (float(run.stdout) > 90) == kept
