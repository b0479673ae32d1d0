"""One rule for a verdict: REAL or FAKE where a model is confident, the picture like what it knows, and the verdict
steady; else 'not sure'. For one picture, for many, and for the measurements of both.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from detector.cifake import CLASSES
from detector.corruptions import corrupt
from detector.models import Detector
from detector.pictures import open_file, to_cifake
from detector.prediction import predict, predict_distance
from detector.progress import InputError

MILD = ("jpeg", "bicubic", "crop")  # what a verdict must survive, each at its mildest
UNSURE = "not sure"
TOGETHER = 32  # pictures read and judged at a time


def steady(model: Detector, pixels: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """Whether P(FAKE) (N,) of uint8 pictures (N, 3, 32, 32) stays on its side of 1/2 under MILD changes: bool (N,)."""
    sides = [predict(model, corrupt(pixels, name, 1)) >= 0.5 for name in MILD]
    return (torch.stack(sides) == (probs >= 0.5)).all(0)


def judge_all(model: Detector, pixels: torch.Tensor) -> pd.DataFrame:
    """The verdicts on uint8 pictures (N, 3, 32, 32), a row each.

    Columns verdict (REAL, FAKE or 'not sure'), prob (P(FAKE)), distance, and the rule's confident, like, steady (bool).
    """
    probs, distances = predict(model, pixels), predict_distance(model, pixels)
    table = pd.DataFrame({"prob": probs, "distance": distances}).astype(np.float64)
    table["confident"] = (torch.maximum(probs, 1 - probs) > model.least_confidence).numpy()
    table["like"] = (distances <= model.largest_distance).numpy()
    table["steady"] = steady(model, pixels, probs).numpy()
    named = np.array(CLASSES)[(probs >= 0.5).long()]
    table.insert(0, "verdict", np.where(table[["confident", "like", "steady"]].all(axis=1), named, UNSURE))
    return table


def probs_of(verdicts: pd.DataFrame) -> torch.Tensor:
    """Their P(FAKE), float32 (N,)."""
    return torch.from_numpy(verdicts["prob"].to_numpy(np.float32))


def in_words(row: pd.Series) -> str:
    """A row of `judge_all` in a few words."""
    what = "made by an AI" if row["prob"] >= 0.5 else "a photograph"
    if row["verdict"] != UNSURE:
        return f"{'almost certainly' if abs(row['prob'] - 0.5) >= 0.49 else 'probably'} {what}"
    if not row["like"]:
        return f"unlike the pictures that this model knows; perhaps {what}"
    return f"perhaps {what}, but {'a small change turns the verdict' if row['confident'] else 'that may be chance'}"


def judge(model: Detector, image: Image.Image) -> dict:
    """The verdict on any picture: a row of `judge_all`, its words, and `seen`, the uint8 (3, 32, 32) it judged."""
    seen = to_cifake(image)
    row = judge_all(model, seen[None]).iloc[0]
    return {**row, "words": in_words(row), "seen": seen}


def judge_files(model: Detector, paths: Sequence[Path]) -> Iterator[dict]:
    """The verdicts on files, a few at a time: keys file, verdict, prob, words, or verdict 'error' and words alone."""
    for start in range(0, len(paths), TOGETHER):
        read = [(path, _read(path)) for path in paths[start : start + TOGETHER]]
        seen = [pixels for _, pixels in read if isinstance(pixels, torch.Tensor)]
        judged = iter(judge_all(model, torch.stack(seen)).iterrows() if seen else ())
        for path, pixels in read:
            if isinstance(pixels, str):
                yield {"file": str(path), "verdict": "error", "prob": np.nan, "words": pixels}
            else:
                _, row = next(judged)
                yield {"file": str(path), "verdict": row["verdict"], "prob": row["prob"], "words": in_words(row)}


def _read(path: Path) -> torch.Tensor | str:
    """A picture in CIFAKE's form, or why it could not be read."""
    try:
        return to_cifake(open_file(path))
    except InputError as error:
        return str(error)


def write_verdicts(table: pd.DataFrame, path: Path) -> None:
    """A table of verdicts as CSV; a file's name that a spreadsheet would take for a formula gets an apostrophe."""
    formula = table["file"].str.startswith(("=", "+", "-", "@", "\t", "\r"))
    safe = table.assign(file=table["file"].where(~formula, "'" + table["file"]))
    safe.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


def files_in(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, and in place of a folder all files in it and below, by name, without hidden ones."""
    found = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        shown = [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        found += [file for file in shown if not file.is_dir()]
    return found
