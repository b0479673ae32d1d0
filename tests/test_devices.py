"""What a training runs on: the faster precision, by measurement."""

import pytest
import torch

from detector import devices


@pytest.mark.parametrize("slower", [torch.float32, torch.bfloat16])
def test_bfloat16_is_used_where_it_was_measured_to_be_faster(monkeypatch, small_cnn, slower):
    """Not where the hardware merely has it; and never for depthwise convolutions."""
    monkeypatch.setattr(devices, "_convolution_seconds", lambda dtype: 2.0 if dtype == slower else 1.0)
    devices._fast_bfloat16_on_cpu.cache_clear()
    cpu, depthwise = torch.device("cpu"), torch.nn.Conv2d(8, 8, 3, groups=8)
    assert devices.fast_bfloat16(small_cnn, cpu) == (slower == torch.float32)
    assert not devices.fast_bfloat16(depthwise, cpu)
    devices._fast_bfloat16_on_cpu.cache_clear()
