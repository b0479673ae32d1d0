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

from benchmarks.study import open_study, study_parser
from detector.core import files
from detector.core.console import run_command
from detector.data.dataset import Dataset, leak_free_rows
from detector.evaluation.access_log import record_access
from detector.evaluation.results import result_rows
from detector.inference.predict import predict
from detector.metrics.classification import evaluate
from detector.models.weights import load_model, read_metadata
from detector.training.recipes import RELEASES
from detector.training.release import train_release


def weights_of(name: str, seed: int, data: Dataset) -> Path:
    """Return the path of a seed's weights: the released ones if they have this seed; otherwise trained if missing."""
    released = files.model_file(name)
    if released.exists() and read_metadata(released)["recipe"]["seed"] == seed:
        return released
    path = files.BUILD_DIR / "seeds" / f"{name}-{seed}.safetensors"
    if not path.exists():
        train_release(name, data, path, seed=seed)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate the seeds that have no rows yet, then print accuracies and the best seed."""
    parser = study_parser("seeds", __doc__)
    parser.add_argument("name", nargs="?", default="cnn", choices=list(RELEASES), help="the recipe (default: cnn)")
    parser.add_argument("seeds", nargs="*", type=int, default=(0, 1, 2), metavar="SEED", help="default: 0 1 2")
    options = parser.parse_args(arguments)
    study = open_study("seeds", options)
    data = study.load_data()
    sets = {"validation": data.validation, "test": data.test, "leak_free": data.test[leak_free_rows(data.test.files)]}
    for seed in options.seeds[: study.repeats(len(options.seeds))]:
        if study.has(model=options.name, seed=seed, set="leak_free"):  # the last set
            continue
        path = None if study.smoke else weights_of(options.name, seed, data)
        model = load_model(path) if path else study.load_model(options.name)
        for set_, images in sets.items():
            metrics = evaluate(predict(model, images.pixels), images.labels).loc[["accuracy"]]
            if path and set_ == "test":
                record_access(path, "test", metrics.loc["accuracy", "value"], name=options.name)
            study.add(result_rows(metrics, experiment="seeds", model=options.name, seed=seed, set=set_))
    table = study.results().query("model == @options.name").pivot(index="seed", columns="set", values="value")
    print(f"{table.to_string()}\nbest seed of {options.name} on validation: {table['validation'].idxmax()}")


if __name__ == "__main__":
    sys.exit(run_command(main))
