"""Arguments, data, timing and results that the studies share.

Run a study by `python -m benchmarks.NAME`. It writes its rows to `benchmarks/results/NAME.csv` as soon as they exist.
An interrupted study continues with the rows that are missing. To measure a row again, delete it from the file. With
`--smoke` a study takes seconds: it runs on a sample of the toy dataset with a small network and writes to
`build/smoke/NAME.csv`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from detector.core import files
from detector.data.dataset import Dataset, load_cifake_only, make_toy_dataset
from detector.evaluation.results import COLUMNS, read_results, replace_results, write_results
from detector.models.base import Detector
from detector.models.cnn import CNN
from detector.models.weights import load_model
from detector.training.loop import train
from detector.training.recipes import Recipe

UNITS = {  # of metrics that are not proportions; a study may set others itself
    **dict.fromkeys(["parameters", "MACs", "images", "deletion", "insertion", "similarity_to_random_weights"], ""),
    "seconds": "s",
    "images_per_second": "images/s",
    "loss": "nats",
}


@dataclass(frozen=True)
class Study:
    """One study, by the name of its module and CSV file.

    A smoke run uses toy data, small networks and short training, and writes below `build/`.
    """

    name: str
    smoke: bool = False

    @property
    def path(self) -> Path:
        """Return the path of the study's CSV file."""
        return (files.BUILD_DIR / "smoke" if self.smoke else files.STUDIES_DIR) / f"{self.name}.csv"

    def load_data(self) -> Dataset:
        """Load CIFAKE, or a sample of the toy dataset for a smoke run. Raises UserError if CIFAKE is not available."""
        return make_toy_dataset("smoke run").sample(256) if self.smoke else load_cifake_only()

    def load_model(self, name: str) -> Detector:
        """Load the released model of that name, or a small untrained CNN for a smoke run."""
        if self.smoke:
            torch.manual_seed(0)
            return self.new_cnn().eval()
        return load_model(files.model_file(name))

    def new_cnn(self) -> CNN:
        """Return an untrained CNN of the default size, or a small one for a smoke run."""
        return CNN(widths=(16, 16), stem=16) if self.smoke else CNN()

    def adapt(self, recipe: Recipe) -> Recipe:
        """Return the recipe, shortened to one epoch of small batches for a smoke run."""
        return replace(recipe, epochs=1, batch_size=16) if self.smoke else recipe

    def repeats(self, n: int) -> int:
        """Return how often to measure: `n` times, or once for a smoke run."""
        return 1 if self.smoke else n

    def train_cnn(self, data: Dataset, recipe: Recipe, name: str) -> tuple[Detector, pd.DataFrame]:
        """Return a new CNN, initialised with the recipe's seed and trained, and its history."""
        torch.manual_seed(recipe.seed)
        return train(self.new_cnn(), data.train, data.validation, self.adapt(recipe), name=name)

    def results(self) -> pd.DataFrame:
        """Read the study's rows; the table is empty if the file does not exist yet."""
        if self.path.exists():
            return read_results(self.path)
        return pd.DataFrame(columns=COLUMNS).astype({"seed": "Int64", "n": "Int64"})

    def has(self, **values: str | int) -> bool:
        """Tell whether the file has a row with these column values."""
        table = self.results()
        for column, value in values.items():
            table = table[(table[column] == value).fillna(False)]
        return len(table) > 0

    def add(self, rows: pd.DataFrame, *, replaced_device: str | None = None) -> None:
        """Write rows to the file with the UNITS of their metrics; they replace earlier rows of the same measurement.

        Args:
            replaced_device: also remove all earlier rows of this device.
        """
        rows = rows.assign(unit=rows["metric"].map(UNITS).fillna(rows["unit"]))
        table = self.results()
        write_results(replace_results(table[table["device"] != replaced_device], rows), self.path)


def study_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the option of every study; its help shows the first line of `description`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="test the study in seconds on toy data")
    return parser


def open_study(name: str, options: argparse.Namespace) -> Study:
    """Return the study with parsed options. A smoke run starts without rows."""
    study = Study(name, options.smoke)
    if study.smoke:
        study.path.unlink(missing_ok=True)
    return study


def single(value: float, n: float = nan) -> tuple[float, float, float, float]:
    """Return (value, low, high, n) of a measurement without an interval."""
    return value, nan, nan, n


def timed(function: Callable, *arguments, **options) -> tuple[Any, float]:
    """Call the function with the further arguments; return its result and the seconds that the call took."""
    started = time.perf_counter()
    result = function(*arguments, **options)
    return result, time.perf_counter() - started


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one call that is not counted."""
    function()
    return statistics.median(timed(function)[1] for _ in range(repeats))
