"""Measure which components of the fast recipe matter, and how many training images it needs.

Command: `make ablation` or `python -m benchmarks.ablation`. Cost: about 40 minutes on two CPU cores.
Question: by how much does the validation accuracy change without a component, or with fewer images? Each variant is
trained with three seeds. Variants with fewer images are trained for as many steps.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.study import open_study, study_parser
from detector.core.console import run_command
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.intervals import metric_table, proportion
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


def variants(images: int) -> list[tuple[str, str, Recipe]]:
    """Return every variant as (experiment, slice, recipe), for a training set of so many images."""
    components = [("recipe components", slice_of(variant=variant), recipe) for variant, recipe in COMPONENTS.items()]
    sizes = {images: FAST}
    for epochs in (4, 16):  # a quarter of the images is seen four times
        sizes[images // epochs] = replace(FAST, epochs=epochs, images=images // epochs)
    return components + [("training images", slice_of(images=size), recipe) for size, recipe in sizes.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants that have no row yet, then print mean and standard deviation over seeds.

    The result is the validation accuracy at the end of the schedule.
    """
    study = open_study("ablation", study_parser("ablation", __doc__).parse_args(arguments))
    data = study.load_data()
    n = len(data.validation)
    accuracies: dict[Recipe, float] = {}  # the full recipe is part of both experiments
    for seed in SEEDS[: study.repeats(len(SEEDS))]:
        for experiment, slice_, recipe in variants(len(data.train)):
            key = {"experiment": experiment, "model": "cnn", "set": "validation", "slice": slice_, "seed": seed}
            if study.has(**key):
                continue
            seeded = replace(recipe, seed=seed)
            if seeded not in accuracies:
                _, history = study.train_cnn(data, seeded, f"{slice_}, seed {seed}")
                accuracies[seeded] = history["validation_accuracy"].iloc[-1]
            metrics = metric_table({"accuracy": proportion(round(accuracies[seeded] * n), n)})
            study.add(result_rows(metrics, **key))
    by_variant = study.results().groupby(["experiment", "slice"], sort=False)["value"]
    print(by_variant.agg(["mean", "std"]).to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
