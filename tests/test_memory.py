"""Memory that was freed stays with the process."""

import platform
import subprocess
import sys

import pytest

RESIDENT = """
import os
from pathlib import Path
import torch
from detector.memory import keep_freed_memory
if {kept}:
    keep_freed_memory()
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20  # MiB
before = resident()
torch.ones(100 * 2**18)  # 100 MiB, freed at once
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")
@pytest.mark.parametrize("kept", [False, True])
def test_freed_memory_is_kept_where_it_was_told_to_be(kept):
    code = RESIDENT.format(kept=kept)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (float(told.stdout) > 90) == kept
