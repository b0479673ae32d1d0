"""The model of many GPUs: its counts, and its limits."""

import pytest

from benchmarks import scaling


def test_the_table_follows_the_assumptions(monkeypatch):
    monkeypatch.setattr(scaling, "GPUS", {2: (1e9, 0.0), 4: (1e30, 1e-3)})
    table = scaling.on_paper(0.1)
    size = float(table.loc["2 GPUs", "gradients"].removesuffix(" MB"))
    calls = int(table.loc["4 GPUs", "calls"])
    assert float(table.loc["2 GPUs", "communication"].removesuffix(" ms")) == pytest.approx(size, rel=0.05)  # 1 GB/s
    assert float(table.loc["4 GPUs", "communication"].removesuffix(" ms")) == calls
    assert table.loc["4 GPUs", "efficiency, same batch on each GPU"] == f"{100 / (100 + calls):.0%}"
    assert table.loc["4 GPUs", "efficiency, batch divided"] == f"{25 / (25 + calls):.0%}"
