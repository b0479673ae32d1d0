"""Decide on many image files, one after the other, and save the decisions as CSV."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from detector.core import files
from detector.core.console import UserError
from detector.data.decode import decode_image, read_file
from detector.inference.choice import AUTOMATIC, choose_model
from detector.inference.decision import predict_image
from detector.inference.prediction import ABSTAIN
from detector.models.base import Detector
from detector.models.weights import NATIVE_RELEASED, RELEASED, load_model, released_models
from detector.provenance import find_evidence

SAVE_EVERY = 10  # seconds, so that a run that is killed loses no more
COLUMNS = ["file", "label", "probability", "reason", "evidence", "model"]


def predict_paths(paths: Sequence[Path], weights: Path | None = None, csv: Path | None = None) -> None:
    """Decide on files and folders, print a line for each image as it is scored, then the files that failed.

    Args:
        paths: image files, and folders that are searched.
        weights: the model's file; by default `choice.choose_model` picks a released model for each image.
        csv: also write the rows of `predict_files` to this file; after an interruption, the rows until then.

    Raises UserError if there is no file, if some could not be read, or if `csv` exists and is not a table of this
    function.
    """
    found = find_files(paths)
    if csv and csv.exists():
        _check_is_table(csv)
        found = [file for file in found if file.resolve() != csv.resolve()]
    models = load_models(weights)
    rows, saved = [], time.monotonic()
    if csv:
        write_predictions(pd.DataFrame(columns=COLUMNS), csv)  # an unwritable file is reported now, not after hours
    try:
        for row in predict_files(models, found, weights.stem if weights else AUTOMATIC):
            rows.append(row)
            if row["label"] != "error":
                print(f"{row['probability']:.4f}\t{row['label']}\t{_printable(row['file'])}", flush=True)
            if csv and time.monotonic() - saved > SAVE_EVERY:
                write_predictions(pd.DataFrame(rows, columns=COLUMNS), csv)
                saved = time.monotonic()
    finally:
        if csv:
            write_predictions(pd.DataFrame(rows, columns=COLUMNS), csv)
    failed = [row for row in rows if row["label"] == "error"]
    for row in failed:
        print(f"{_printable(row['file'])}: {row['reason']}", file=sys.stderr)
    if not found:
        raise UserError(f"There are no files in {', '.join(map(str, paths))}. Name an image or a folder of images.")
    if failed:
        raise UserError(f"{len(failed)} of {len(rows)} files could not be read as images. The reasons are above.")


def load_models(weights: Path | None) -> dict[str, Detector]:
    """Return the model of a file by its stem, or all released models by name."""
    return {weights.stem: load_model(weights)} if weights else released_models([*NATIVE_RELEASED, *RELEASED])


def _check_is_table(path: Path) -> None:
    """Raise UserError unless a file begins as `write_predictions` begins a table."""
    header, start = ",".join(COLUMNS).encode(), b""
    if path.is_file():
        with path.open("rb") as file:  # a table may be larger than any image
            start = file.read(len(header))
    if start != header:
        raise UserError(f"{path} exists and is not a table of predictions. Name another file after --csv.")


def _printable(name: str) -> str:
    """Replace characters that would move a terminal's cursor or break a line."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """List files: each file in `paths`, and those below each folder, sorted by name.

    Hidden files and an operating system's own, such as Thumbs.db, are skipped in folders.
    """
    found = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        kept = [file for file in inside if not any(files.is_litter(part) for part in file.relative_to(path).parts)]
        found += [file for file in kept if not file.is_dir()]
    return found


def predict_files(models: Mapping[str, Detector], paths: Sequence[Path], wanted: str = AUTOMATIC) -> Iterator[dict]:
    """Decide on image files, one at a time, in the order given, by the model of that name or an automatic choice.

    Yields a dictionary a file, with the keys of COLUMNS: file, label ('REAL', 'FAKE' or 'not sure'), probability
    (P(FAKE); nan where the image is not scored), reason, evidence (metadata about its origin) and model. A file that
    cannot be read as an image has the label 'error' and the error as the reason.
    """
    for path in paths:
        yield predict_file(models, str(path), partial(read_file, path), wanted)


def predict_file(
    models: Mapping[str, Detector], file: str, read: Callable[[], bytes], wanted: str = AUTOMATIC
) -> dict[str, str | float]:
    """Decide on one image file; return its row as `predict_files` yields it.

    Bytes that are not UTF-8, which no table of pandas with pyarrow can hold, are escaped.

    Args:
        file: its name in the row.
        read: returns its bytes, or raises UserError.
    """
    row = {"file": _utf8(file), "label": "error", "probability": np.nan, "reason": "", "evidence": "", "model": ""}
    try:
        data = read()
        image = decode_image(data)
        name, _ = choose_model(models, image, wanted)
        prediction = predict_image(models[name], image)
    except UserError as error:
        return row | {"reason": str(error)}
    reason = f"{prediction.reason}. {prediction.frame}" if prediction.frame else prediction.reason
    evidence = "; ".join(f"{item.kind}: {item.value}" for item in find_evidence(data))
    decision = {"label": prediction.label or ABSTAIN, "probability": prediction.probability}
    return row | decision | {"reason": reason, "evidence": _utf8(evidence), "model": name}


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write rows of `predict_files` as CSV.

    A file name that a spreadsheet would read as a formula gets an apostrophe.
    """
    names = table["file"].astype(str)
    formula = names.str.startswith(("=", "+", "-", "@", "\t", "\r"))
    safe = table.assign(file=names.where(~formula, "'" + names))
    with files.atomic_write(path) as part:
        safe.to_csv(part, index=False, float_format="%.6f", lineterminator="\n")
