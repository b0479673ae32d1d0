"""The fastest recipe where there is an accelerator: `python -m benchmarks.race`, with the device to itself.

Seconds from fresh weights to trained and scored ones, and validation accuracy, a row a seed in race.csv. A short
training before them, which does not count, loads what the first one has to load.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from benchmarks.bench import SEEDS
from benchmarks.transfers import device_name
from detector.budgets import FASTEST
from detector.data import load_cifake_only
from detector.models import CNN
from detector.progress import tell_errors
from detector.training import train

TABLE = Path(__file__).with_name("race.csv")


def main() -> None:
    """Train once a seed, write the table, and print it."""
    data, rows = load_cifake_only(), []
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    train(CNN(), data.train[:2560], data.validation[:500], FASTEST, name="warming up")
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        started = time.perf_counter()
        _, history = train(CNN(), data.train, data.validation, replace(FASTEST, seed=seed), name=f"seed {seed}")
        seconds = time.perf_counter() - started
        rows.append((device_name(), seed, seconds, history["validation_accuracy"].iloc[-1]))
    table = pd.DataFrame(rows, columns=["device", "seed", "seconds", "accuracy"])
    if TABLE.exists():  # of other devices
        others = pd.read_csv(TABLE)
        table = pd.concat([others[others["device"] != device_name()], table])
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
