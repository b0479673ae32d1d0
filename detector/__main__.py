"""The command line: python -m detector report | audit | teach | train | evaluate | predict | demo."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from detector import demo, evaluation
from detector.budgets import BUDGETS, DEFAULT
from detector.card import write_model_card
from detector.data import (
    LEAKS,
    TRAIN_COPIES,
    Dataset,
    Images,
    concatenate,
    leak_free_rows,
    load_cifake_only,
    load_data,
    load_folders,
)
from detector.leakage import all_pictures, copies_table, find_copies, index_classes, leaks, train_copies
from detector.making import MAKERS, MAKERS_DIR, teach_maker
from detector.metrics import evaluate_all, evaluate_unseen
from detector.models import Detector
from detector.presentation import write_shipped_table
from detector.progress import InputError, tell_errors
from detector.report import NOTEBOOK, ROOT, make_report
from detector.robustness import corrupt_all, robustness_tables
from detector.shipping import TRAININGS, train_shipped
from detector.unseen import UNSEEN_DIR, load_unseen
from detector.verdicts import files_in, judge_all, judge_files, probs_of, write_verdicts
from detector.weights import DEFAULT_MODEL, MODELS_DIR, load_model, shipped_models


def run_report(options: argparse.Namespace) -> None:
    """Execute and render the report; `--replace` puts the executed notebook in the committed one's place."""
    if options.replace and (options.budget != DEFAULT or load_data().name != "CIFAKE"):
        raise InputError(
            f"the committed report is that of CIFAKE at budget '{DEFAULT}': only such a one may replace it."
        )
    notebook, page = make_report(options.budget, ROOT / "build")
    if options.replace:
        NOTEBOOK.write_bytes(notebook.read_bytes())
    print(f"{notebook}\n{page}")


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


def run_teach(options: argparse.Namespace) -> None:
    """Teach a maker of fakes on CIFAKE's training photographs, and replace its weights; wants a GPU."""
    train_set, path = load_cifake_only().train, MAKERS_DIR / f"{options.maker}.safetensors"
    teach_maker(options.maker, train_set.pixels[train_set.labels == 0], path, seed=options.seed)
    print(path)


def run_train(options: argparse.Namespace) -> None:
    """Train a shipped model by its recipe, on CIFAKE or on several sources, and replace its weights."""
    data, path = load_cifake_only(), MODELS_DIR / f"{options.model}.safetensors"
    history = train_shipped(options.model, data, path)
    print(f"{history.to_string()}\n{path}")


def run_evaluate(options: argparse.Namespace) -> None:
    """Score models in models/ as shipped, into models/ (records, predictions, card) and README's table."""
    models = shipped_models()
    if unknown := set(options.models) - set(models):
        raise InputError(f"there is no {', '.join(sorted(unknown))} in {MODELS_DIR}: choose {', '.join(models)}.")
    data, sources = load_cifake_only(), load_unseen()
    corrupted = corrupt_all(data.test.pixels[evaluation.SLICE])
    predictions = evaluation.read_predictions() if options.models else pd.DataFrame(index=data.test.files)
    for name in options.models or models:
        model = models[name]
        test = judge_all(model, data.test.pixels)
        tables = cifake_tables(model, data, test) | robustness_tables(model, data.test, corrupted)
        if sources:
            tables |= source_tables(model, sources, test[data.test.labels.numpy() == 0])
        weights = MODELS_DIR / f"{name}.safetensors"
        kept = not sources and evaluation.was_scored(weights, "unseen")
        if not sources:
            why = "stays, since its weights are the same" if kept else "goes, since its weights are others"
            print(f"{UNSEEN_DIR} is empty: what the records say of {name} there {why}.")
        evaluation.forget(name, keep="unseen" if kept else None)
        for set_, metrics in tables.items():
            evaluation.record(name, set_, metrics)
            print(f"{name} on {set_}\n{metrics.round(4).to_string()}", flush=True)
        for set_ in {"test", "unseen"} & set(tables):
            evaluation.note_first_look(weights, set_, tables[set_].loc["accuracy", "value"])
        predictions[name] = test["prob"].to_numpy()
        table = predictions.loc[data.test.files].rename_axis("file")
        table.to_csv(evaluation.PREDICTIONS, float_format="%.7g", lineterminator="\n")
    write_shipped_table(ROOT / "README.md")
    write_model_card()


def cifake_tables(model: Detector, data: Dataset, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The metrics of a model on the sets of CIFAKE; `test` are its verdicts on the test folder."""
    leak_free, tenth = leak_free_rows(data.test.files), np.arange(len(test))[evaluation.SLICE]
    sets = {
        "val": (judge_all(model, data.validation.pixels), data.validation.labels),
        "test": (test, data.test.labels),
        "leak_free": (test[leak_free], data.test.labels[leak_free]),
    }
    slice_ = evaluation.evaluate(probs_of(test.iloc[tenth]), data.test.labels[evaluation.SLICE])
    return {set_: evaluate_all(*scored) for set_, scored in sets.items()} | {"test/slice": slice_}


def source_tables(model: Detector, sources: dict[str, Images], photographs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The metrics of a model on each unseen source and on all; generators are set against verdicts on `photographs`."""
    everything = concatenate(*sources.values())
    verdicts = judge_all(model, everything.pixels)
    tables = {"unseen": evaluation.evaluate(probs_of(verdicts), everything.labels)}
    for source, images in sources.items():
        part = verdicts[np.isin(everything.files, images.files)]
        tables[f"unseen/{source}"] = evaluate_unseen(part, images.labels, photographs)
    return tables


def run_predict(options: argparse.Namespace) -> None:
    """The verdicts on pictures, a line each as it comes; folders are searched. What cannot be read comes last."""
    model, paths = load_model(options.weights), files_in(options.paths)
    columns, rows = ["file", "verdict", "prob", "words"], []
    if options.csv:
        write_verdicts(pd.DataFrame(columns=columns), options.csv)  # told now, not after hours, if it cannot be written
    try:
        for row in judge_files(model, paths):
            rows.append(row)
            if row["verdict"] != "error":
                print(f"{row['prob']:.4f}\t{row['verdict']}\t{_printable(row['file'])}", flush=True)
    finally:
        table = pd.DataFrame(rows, columns=columns)
        if options.csv:
            write_verdicts(table, options.csv)
    failed = table[table["verdict"] == "error"]
    for row in failed.itertuples():
        print(f"{_printable(row.file)}: {row.words}", file=sys.stderr)
    if not paths:
        raise InputError(f"there are no files in {', '.join(map(str, options.paths))}.")
    if len(failed):
        raise InputError(f"{len(failed)} of {len(table)} files could not be read as pictures.")


def _printable(name: str) -> str:
    """A file's name without what would move a terminal's cursor or break a line."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


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
    teaching = command(run_teach, "teach")
    teaching.add_argument("maker", choices=list(MAKERS))
    teaching.add_argument("--seed", type=int, default=0, help="of the first weights and of all chance")
    training = command(run_train, "train")
    training.add_argument("model", choices=list(TRAININGS))
    audit = command(run_audit, "audit")
    audit.add_argument(
        "--split",
        action="store_true",
        help="for maintainers: also list the copies within train, which changes the split and outdates every model",
    )
    scored = command(run_evaluate, "evaluate")
    scored.add_argument("models", nargs="*", metavar="NAME", help="default: all of them")
    predict = command(run_predict, "predict")
    predict.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    predict.add_argument("--csv", type=Path, metavar="FILE", help="also write the verdicts and errors to FILE")
    predict.add_argument("--weights", type=Path, default=MODELS_DIR / f"{DEFAULT_MODEL}.safetensors")
    served = command(run_demo, "demo")
    served.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    return top


def main() -> int:
    """Run a command; its exit status."""
    options = parser().parse_args()
    return tell_errors(lambda: options.function(options))


if __name__ == "__main__":
    sys.exit(main())
