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
from detector.pictures import open_file, to_cifake, to_views
from detector.prediction import predict_distance, predict_logits, probabilities
from detector.progress import InputError

MILD = ("jpeg", "bicubic", "crop")  # what a verdict must survive, each at its mildest
UNSURE = "not sure"
TOGETHER = 32  # pictures read and judged at a time


def views_of(model: Detector, image: Image.Image) -> torch.Tensor:
    """What a model judges of any picture: `to_views`, or the whole alone, uint8 (V, 3, 32, 32)."""
    return to_views(image) if model.parts else to_cifake(image)[None]


def predict_views(model: Detector, views: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
    """P(FAKE) of pictures by their views, uint8 (V, 3, 32, 32) to float32 (N,); one each, or `counts` of them.

    Of the views of `to_views`: the logit is the mean of the whole's and of the parts' mean where there are parts.
    """
    logits = predict_logits(model, views)
    if counts is not None:
        logits = torch.stack(
            [own[0] if len(own) == 1 else (own[0] + own[1:].mean()) / 2 for own in logits.split(counts)]
        )
    return probabilities(logits)


def steady(
    model: Detector, views: torch.Tensor, probs: torch.Tensor, counts: Sequence[int] | None = None
) -> torch.Tensor:
    """Whether P(FAKE) (N,) of pictures stays on its side of 1/2 where all their views undergo MILD changes: bool (N,).

    `views` and `counts` as of `predict_views`.
    """
    sides = [predict_views(model, corrupt(views, name, 1), counts) >= 0.5 for name in MILD]
    return (torch.stack(sides) == (probs >= 0.5)).all(0)


def judge_all(model: Detector, views: torch.Tensor, counts: Sequence[int] | None = None) -> pd.DataFrame:
    """The verdicts on pictures by their views, uint8 (V, 3, 32, 32), a row each; `counts` as of `predict_views`.

    Columns verdict (REAL, FAKE or 'not sure'), prob (P(FAKE)), distance (of the whole), and the rule's confident, like,
    steady (bool).
    """
    probs = predict_views(model, views, counts)
    wholes = views if counts is None else torch.stack([own[0] for own in views.split(counts)])
    distances = predict_distance(model, wholes)
    table = pd.DataFrame({"prob": probs, "distance": distances}).astype(np.float64)
    table["confident"] = (torch.maximum(probs, 1 - probs) > model.least_confidence).numpy()
    table["like"] = (distances <= model.largest_distance).numpy()
    table["steady"] = steady(model, views, probs, counts).numpy()
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
    """The verdict on any picture: a row of `judge_all`, its words, and `views`, what it judged, by `views_of`."""
    views = views_of(model, image)
    row = judge_all(model, views, [len(views)]).iloc[0]
    return {**row, "words": in_words(row), "views": views}


def judge_files(model: Detector, paths: Sequence[Path]) -> Iterator[dict]:
    """The verdicts on files, a few at a time: keys file, verdict, prob, words, or verdict 'error' and words alone."""
    for start in range(0, len(paths), TOGETHER):
        read = [(path, _read(model, path)) for path in paths[start : start + TOGETHER]]
        seen = [views for _, views in read if isinstance(views, torch.Tensor)]
        judged = iter(judge_all(model, torch.cat(seen), [len(views) for views in seen]).iterrows() if seen else ())
        for path, views in read:
            if isinstance(views, str):
                yield {"file": str(path), "verdict": "error", "prob": np.nan, "words": views}
            else:
                _, row = next(judged)
                yield {"file": str(path), "verdict": row["verdict"], "prob": row["prob"], "words": in_words(row)}


def _read(model: Detector, path: Path) -> torch.Tensor | str:
    """A picture's views, or why it could not be read."""
    try:
        return views_of(model, open_file(path))
    except InputError as error:
        return str(error)


def write_verdicts(table: pd.DataFrame, path: Path) -> None:
    """A table of verdicts as CSV; a file's name that a spreadsheet would take for a formula gets an apostrophe."""
    names = table["file"].astype(str)
    formula = names.str.startswith(("=", "+", "-", "@", "\t", "\r"))
    safe = table.assign(file=names.where(~formula, "'" + names))
    # A name that is not UTF-8 is written escaped
    safe.to_csv(path, index=False, float_format="%.6f", lineterminator="\n", errors="backslashreplace")


def files_in(paths: Sequence[Path]) -> list[Path]:
    """Files as they are, and in place of a folder all files in it and below, by name, without hidden ones."""
    found = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        shown = [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        found += [file for file in shown if not file.is_dir()]
    return found
