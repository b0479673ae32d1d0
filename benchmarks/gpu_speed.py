"""Measure the training time of the fast recipe on a GPU.

Command: `python -m benchmarks.gpu_speed`, with the device to itself. Cost: under a minute on a GPU.
Question: how many seconds does training take, from untrained to trained and evaluated weights, and what validation
accuracy does it reach? Each of five seeds gives one row of either metric. A short training run before them is not
timed, because it loads the device's libraries.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmarks.study import open_study, single, study_parser, timed
from detector.core.console import run_command
from detector.core.device import device_name
from detector.evaluation.results import result_rows
from detector.metrics.intervals import metric_table, proportion
from detector.training.recipes import FAST


def main(arguments: Sequence[str] | None = None) -> None:
    """Train once for each seed that has no row for this device, then print the rows."""
    study = open_study("gpu_speed", study_parser("gpu_speed", __doc__).parse_args(arguments))
    data, device = study.load_data(), device_name()
    n = len(data.validation)
    torch.backends.cudnn.benchmark = True  # all batches have the same shape
    study.train_cnn(replace(data, train=data.train[:2560], validation=data.validation[:500]), FAST, "warm-up")
    for seed in range(study.repeats(5)):
        key = {"experiment": "gpu speed", "model": "cnn", "set": "validation", "seed": seed, "device": device}
        if not study.has(**key):
            (_, history), seconds = timed(study.train_cnn, data, replace(FAST, seed=seed), f"seed {seed}")
            accuracy = proportion(round(history["validation_accuracy"].iloc[-1] * n), n)
            study.add(result_rows(metric_table({"seconds": single(seconds), "accuracy": accuracy}), **key))
    print(study.results().to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
