"""Measure which components of the fast recipe matter, and how many training images it needs.

Command: `make ablation` or `python -m benchmarks.ablation`. Cost: about 40 minutes on two CPU cores.
Question: by how much does the validation accuracy change without a component, or with fewer images? Each variant is
trained with three seeds. Variants with fewer images are trained for as many steps.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmarks.study import Study, open_study, study_parser
from detector.core.console import run_command
from detector.data.dataset import Dataset
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.intervals import metric_table, proportion
from detector.training.loop import train
from detector.training.recipes import FAST, Recipe

SEEDS = range(3)
ADAMW = replace(FAST, optimizer="adamw", learning_rate=6e-3)  # the best learning rate for AdamW
COMPONENTS = {
    "full recipe": FAST,
    "AdamW instead of Muon": ADAMW,
    "no auxiliary target": replace(FAST, auxiliary_weight=0.0),
    "AdamW, no auxiliary target": replace(ADAMW, auxiliary_weight=0.0),
    "no weight averaging": replace(FAST, ema_decay=0.0),
    "no random translation": replace(FAST, max_translation=0),
}
EPOCHS = (1, 4, 16)  # an n-th of the images is seen n times


def variants(images: int) -> list[tuple[str, str, Recipe]]:
    """Return every variant as (experiment, slice, recipe), for a training set of so many images."""
    components = [("recipe components", slice_of(variant=variant), recipe) for variant, recipe in COMPONENTS.items()]
    sizes = {images // epochs: replace(FAST, epochs=epochs, images=images // epochs) for epochs in EPOCHS[1:]}
    return components + [
        ("training images", slice_of(images=size), recipe) for size, recipe in {images: FAST, **sizes}.items()
    ]


def final_accuracy(study: Study, data: Dataset, recipe: Recipe, name: str) -> float:
    """Train by the recipe and return the validation accuracy at the end of its schedule."""
    torch.manual_seed(recipe.seed)
    _, history = train(study.new_cnn(), data.train, data.validation, study.adapt(recipe), name=name)
    return history["validation_accuracy"].iloc[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants that have no row yet, then print mean and standard deviation over seeds."""
    study = open_study("ablation", study_parser("ablation", __doc__).parse_args(arguments))
    data = study.load_data()
    n = len(data.validation)
    accuracies: dict[Recipe, float] = {}  # the full recipe is part of both experiments
    for seed in SEEDS[:1] if study.smoke else SEEDS:
        for experiment, slice_, recipe in variants(len(data.train)):
            if study.has(experiment=experiment, slice=slice_, seed=seed):
                continue
            seeded = replace(recipe, seed=seed)
            if seeded not in accuracies:
                accuracies[seeded] = final_accuracy(study, data, seeded, f"{slice_}, seed {seed}")
            metrics = metric_table({"accuracy": proportion(round(accuracies[seeded] * n), n)})
            key = {"experiment": experiment, "model": "cnn", "set": "validation", "slice": slice_, "seed": seed}
            study.add(result_rows(metrics, **key))
    by_variant = study.results().groupby(["experiment", "slice"], sort=False)["value"]
    print(by_variant.agg(["mean", "std"]).to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
