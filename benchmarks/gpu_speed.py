"""Measure the training time of the fast recipe on a GPU.

Command: `python -m benchmarks.gpu_speed`, with the device to itself. Cost: under a minute on a GPU.
Question: how many seconds does training take, from untrained to trained and evaluated weights, and what validation
accuracy does it reach? Each of five seeds gives one row of either metric. A short training run before them is not
timed, because it loads the device's libraries.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from benchmarks.study import Study, open_study, single, study_parser
from detector.core.console import run_command
from detector.core.device import device_name
from detector.data.dataset import Dataset
from detector.evaluation.results import result_rows
from detector.metrics.intervals import metric_table, proportion
from detector.training.loop import train
from detector.training.recipes import FAST

EXPERIMENT = "gpu speed"
SEEDS = 5
WARM_UP_IMAGES = 2560


def timed_training(study: Study, data: Dataset, seed: int) -> pd.DataFrame:
    """Train with this seed and return a metric table of seconds and validation accuracy."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    recipe = study.adapt(replace(FAST, seed=seed))
    _, history = train(study.new_cnn(), data.train, data.validation, recipe, name=f"seed {seed}")
    seconds, n = time.perf_counter() - started, len(data.validation)
    accuracy = history["validation_accuracy"].iloc[-1]
    return metric_table({"seconds": single(seconds), "accuracy": proportion(round(accuracy * n), n)})


def main(arguments: Sequence[str] | None = None) -> None:
    """Train once for each seed that has no row for this device, then print the rows."""
    study = open_study("gpu_speed", study_parser("gpu_speed", __doc__).parse_args(arguments))
    data, device = study.load_data(), device_name()
    torch.backends.cudnn.benchmark = True  # all batches have the same shape
    warm_up = data.train[:WARM_UP_IMAGES]
    train(study.new_cnn(), warm_up, data.validation[:500], study.adapt(FAST), name="warm-up")
    for seed in range(1 if study.smoke else SEEDS):
        if not study.has(device=device, seed=seed):
            metrics = timed_training(study, data, seed)
            key = {"experiment": EXPERIMENT, "model": "cnn", "set": "validation", "seed": seed, "device": device}
            study.add(result_rows(metrics, **key))
    print(study.results().to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
