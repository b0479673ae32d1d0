"""Train a released recipe with other seeds and evaluate the models.

Command: `python -m benchmarks.seeds [NAME] [SEED...]`. Cost: one release training for each new seed, of a quarter of
an hour on a GPU to some hours on two CPU cores.
Question: how much does the accuracy on validation, test and leak-free test vary between seeds? The weights stay in
`build/seeds/`, and the study releases none of them. It reports the seed with the best validation accuracy; change the
recipe's seed in `detector/training/recipes.py` to release that one. The first evaluation on the test set is recorded
in `benchmarks/TEST_LEDGER.md`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.study import Study, open_study, study_parser
from detector.core import files
from detector.core.console import run_command
from detector.data.dataset import Dataset, leak_free_rows
from detector.evaluation.access_log import record_access
from detector.evaluation.results import result_rows
from detector.inference.predict import predict
from detector.metrics.classification import evaluate
from detector.models.weights import load_model, read_metadata, save_model
from detector.training.recipes import RELEASES
from detector.training.release import train_release

EXPERIMENT = "seeds"
SEEDS = (0, 1, 2)


def weights_of(study: Study, name: str, seed: int, data: Dataset) -> Path:
    """Return the path of a seed's weights: the released ones if they have this seed; otherwise trained if missing."""
    released = files.MODELS_DIR / f"{name}.safetensors"
    if not study.smoke and released.exists() and read_metadata(released)["recipe"]["seed"] == seed:
        return released
    path = study.path.with_name("seeds") if study.smoke else files.BUILD_DIR / "seeds"
    path = path / f"{name}-{seed}.safetensors"
    if study.smoke:
        save_model(study.load_model(name), path, recipe={"seed": seed}, data=data.name)
    elif not path.exists():
        train_release(name, data, path, seed=seed)
    return path


def accuracies(path: Path, data: Dataset) -> dict[str, pd.DataFrame]:
    """Return a metric table with the accuracy of the weights in `path` on each of the three sets."""
    model = load_model(path)
    leak_free = data.test[leak_free_rows(data.test.files)]
    sets = {"validation": data.validation, "test": data.test, "leak_free": leak_free}
    return {
        name: evaluate(predict(model, images.pixels), images.labels).loc[["accuracy"]] for name, images in sets.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate the seeds that have no rows yet, then print accuracies and the best seed."""
    parser = study_parser("seeds", __doc__)
    parser.add_argument("name", nargs="?", default="cnn", choices=list(RELEASES), help="the recipe (default: cnn)")
    parser.add_argument("seeds", nargs="*", type=int, default=SEEDS, metavar="SEED", help="default: 0 1 2")
    options = parser.parse_args(arguments)
    study = open_study("seeds", options)
    data = study.load_data()
    for seed in options.seeds[:1] if study.smoke else options.seeds:
        if study.has(model=options.name, seed=seed, set="leak_free"):
            continue
        path = weights_of(study, options.name, seed, data)
        rows = accuracies(path, data)
        if not study.smoke:
            record_access(path, "test", rows["test"].loc["accuracy", "value"], name=options.name)
        key = {"experiment": EXPERIMENT, "model": options.name, "seed": seed}
        study.add(pd.concat([result_rows(table, set=set_, **key) for set_, table in rows.items()]))
    table = study.results().query("model == @options.name").pivot(index="seed", columns="set", values="value")
    print(f"{table.to_string()}\nbest seed of {options.name} on validation: {table['validation'].idxmax()}")


if __name__ == "__main__":
    sys.exit(run_command(main))
