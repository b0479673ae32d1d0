"""The command line: python -m detector report | audit | train | evaluate | predict | demo."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from detector import demo, evaluation
from detector.budgets import BUDGETS, DEFAULT
from detector.card import write_model_card
from detector.data import LEAKS, TRAIN_COPIES, Dataset, Images, concatenate, leak_free_rows, load_data, load_folders
from detector.leakage import all_pictures, copies_table, find_copies, index_classes, leaks, train_copies
from detector.metrics import answers, evaluate_all, unlikeness
from detector.models import MODELS_DIR, Detector, load_model, shipped_models
from detector.pictures import open_picture
from detector.prediction import answered, predict, predict_distance
from detector.presentation import write_shipped_table
from detector.progress import InputError
from detector.report import NOTEBOOK, ROOT, make_report
from detector.robustness import FIFTH, corrupt_all, robustness_tables
from detector.shipping import TRAININGS, train_shipped
from detector.unseen import load_unseen


def run_report(options: argparse.Namespace) -> None:
    """Execute and render the report; `--replace` puts the executed notebook in the committed one's place."""
    notebook, page = make_report(options.budget, ROOT / "build")
    if options.replace:
        NOTEBOOK.write_bytes(notebook.read_bytes())
    print(f"{notebook}\n{page}")


def load_cifake_only() -> Dataset:
    """The data, where nothing but CIFAKE will do."""
    data = load_data()
    if data.name != "CIFAKE":
        raise InputError(f"what ships is made from CIFAKE, which cannot be had: {data.note}")
    return data


def run_audit(options: argparse.Namespace) -> None:
    """Look for copies in CIFAKE and list those of the test folder in data/leaks.csv."""
    images = all_pictures(*load_folders())
    pairs = find_copies(images, index_classes(images))
    lists = {LEAKS: leaks(pairs).drop(columns="class")}
    if options.split:
        lists[TRAIN_COPIES] = train_copies(pairs)
    for path, table in lists.items():
        table.to_csv(path.with_suffix(".part"), index=False, lineterminator="\n")
        path.with_suffix(".part").replace(path)
        print(f"{path}: {len(table):,} rows")
    print(copies_table(pairs).to_string())


def run_train(options: argparse.Namespace) -> None:
    """Train a shipped model on CIFAKE by its recipe, and replace its weights."""
    data, path = load_cifake_only(), MODELS_DIR / f"{options.model}.safetensors"
    history = train_shipped(options.model, data, path)
    print(f"{history.to_string()}\n{path}")


def run_evaluate(_options: argparse.Namespace) -> None:
    """Score every model in models/ as shipped, into models/ (records, predictions, card) and README's table."""
    data, sources = load_cifake_only(), load_unseen()
    corrupted = corrupt_all(data.test.pixels[FIFTH])
    predictions = pd.DataFrame({"file": data.test.files})
    for name, model in shipped_models().items():
        probs, distances = predict(model, data.test.pixels), predict_distance(model, data.test.pixels)
        tables = cifake_tables(model, data, probs, distances) | robustness_tables(model, data.test, corrupted)
        if sources:
            tables |= source_tables(model, sources, probs[data.test.labels == 0], distances)
        for set_, metrics in tables.items():
            evaluation.record(name, set_, metrics)
            print(f"{name} on {set_}\n{metrics.round(4).to_string()}", flush=True)
        for set_ in {"test", "unseen"} & set(tables):
            weights = MODELS_DIR / f"{name}.safetensors"
            evaluation.note_first_look(weights, set_, tables[set_].loc["accuracy", "value"])
        predictions[name] = probs
    predictions.to_csv(evaluation.PREDICTIONS, index=False, float_format="%.7g", lineterminator="\n")
    write_shipped_table(ROOT / "README.md")
    write_model_card()


def cifake_tables(
    model: Detector, data: Dataset, probs: torch.Tensor, distances: torch.Tensor
) -> dict[str, pd.DataFrame]:
    """The metrics of a model on the sets of CIFAKE, by its P(FAKE) and distances of the test folder's pictures."""
    leak_free, labels, validation = leak_free_rows(data.test.files), data.test.labels, data.validation
    sure = answered(model, probs, distances)
    held_out = predict(model, validation.pixels)
    held_out_sure = answered(model, held_out, predict_distance(model, validation.pixels))
    return {
        "val": evaluate_all(held_out, validation.labels, held_out_sure),
        "test": pd.concat([evaluate_all(probs, labels, sure), unlikeness(model, distances)]),
        "leak_free": evaluate_all(probs[leak_free], labels[leak_free], sure[leak_free]),
        "test/slice": evaluation.evaluate(probs[evaluation.SLICE], labels[evaluation.SLICE]),
    }


def source_tables(
    model: Detector, sources: dict[str, Images], photographs: torch.Tensor, known: torch.Tensor
) -> dict[str, pd.DataFrame]:
    """The metrics of a model on each unseen source and on all.

    Generators are set against P(FAKE) of `photographs`, and distances against those of `known` pictures.
    """
    everything = concatenate(*sources.values())
    probs, distances = predict(model, everything.pixels), predict_distance(model, everything.pixels)
    sure = answered(model, probs, distances)
    tables = {"unseen": evaluation.evaluate(probs, everything.labels)}
    ends = np.cumsum([len(images) for images in sources.values()])
    for (source, images), end in zip(sources.items(), ends, strict=True):
        part = slice(end - len(images), end)
        rows = evaluation.evaluate_source(probs[part], int(images.labels[0]), photographs)
        given = answers(probs[part], images.labels, sure[part])
        tables[f"unseen/{source}"] = pd.concat([rows, given, unlikeness(model, distances[part], known)])
    return tables


def run_predict(options: argparse.Namespace) -> None:
    """P(FAKE) of pictures, a line each; one that cannot be read is told on the error stream."""
    model, failed = load_model(options.weights), 0
    for path in options.paths:
        try:
            verdict = demo.judge(model, open_picture(path.read_bytes()))
            print(f"{verdict['prob']:.4f}\t{verdict['name']}\t{path}")
        except (InputError, OSError) as error:
            failed += 1
            print(f"{path}: {error}", file=sys.stderr)
    if failed:
        raise InputError(f"{failed} of {len(options.paths)} pictures could not be read.")


def run_demo(options: argparse.Namespace) -> None:
    """Serve the demo on localhost until interrupted."""
    models = shipped_models()
    if not models:
        raise InputError(f"there is no model in {MODELS_DIR}: train one with `python -m detector train cnn`.")
    app = demo.build_demo(models)
    demo.launch_demo(app, server_port=options.port, quiet=False, prevent_thread_lock=False)


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="python -m detector", description="Is this picture real, or made by an AI?")
    commands = top.add_subparsers(required=True)

    def command(function, name: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        added.set_defaults(function=function)
        return added

    report = command(run_report, "report")
    report.add_argument("--budget", default=DEFAULT, help=f"one of {', '.join(BUDGETS)} (default: {DEFAULT})")
    report.add_argument("--replace", action="store_true", help="for maintainers: replace the committed report")
    training = command(run_train, "train")
    training.add_argument("model", choices=list(TRAININGS))
    audit = command(run_audit, "audit")
    audit.add_argument(
        "--split",
        action="store_true",
        help="for maintainers: also list the copies within train, which changes the split and outdates every model",
    )
    command(run_evaluate, "evaluate")
    predict = command(run_predict, "predict")
    predict.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    predict.add_argument("--weights", type=Path, default=MODELS_DIR / "cnn.safetensors")
    served = command(run_demo, "demo")
    served.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    return top


def main() -> int:
    """Run a command; what the person can mend is told in one sentence, with exit status 1."""
    options = parser().parse_args()
    try:
        options.function(options)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was trained until the last save is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
