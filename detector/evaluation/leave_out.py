"""Measure how the `native` model generalises: generator families and photo sources that were left out of everything.

For each family and each block of photo sources, head, temperature and limits come from the other groups alone.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from detector.core.console import progress
from detector.core.labels import FAKE, REAL
from detector.data.native import STYLES
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.calibration import expected_calibration_error
from detector.metrics.intervals import auc_against, mean_interval, metric_table, proportion
from detector.training.embeddings import Embeddings
from detector.training.head import Group, fit_head
from detector.training.native import calibrate_head, left_out_logits

BLOCKS = 5  # of photo sources, which are left out together with one family
EXPERIMENT = "native: leave out"
SIDES = (0, 600, 1200, 10**6)  # pixels: bounds of the slices by the long side of the original
METRICS = ["auc", "false_positive_rate", "recall", "coverage", "selective_accuracy"]


def leave_out(
    moments: Mapping[str, Group], scored: Embeddings, variants: Mapping[str, np.ndarray] | None = None
) -> pd.DataFrame:
    """Score every family and photo source by heads that were trained without it.

    Args:
        moments: of the training views (`training.native.training_moments`).
        scored: evaluation views, which also calibrate each head.
        variants: further features of the same rows, (N, F), by name: each is scored by the same heads.

    Returns a row for each variant ('' for `scored` itself), fold and left-out row of `scored`: its family, probability
    (P(FAKE)), the fold's limits low and high, its label (0 or 1), group, style and side (of the original, in pixels).
    """
    families, sources = (np.unique(scored.groups[scored.labels == label]) for label in (FAKE, REAL))
    folds = [(str(family), sources[block::BLOCKS]) for family in families for block in range(BLOCKS)]
    features, tables = {"": scored.features, **(variants or {})}, []
    for fold, (family, block) in enumerate(progress(folds, desc="leaving sources out", unit=" folds", delay=1)):
        left_out = (family, *map(str, block))
        logits = left_out_logits(moments, scored, left_out)
        kept = ~np.isnan(logits)
        calibration = calibrate_head(logits[kept], scored.labels[kept], scored.groups[kept])
        weights, bias = fit_head(moments, left_out)
        rows = np.flatnonzero(np.isin(scored.groups, left_out))
        for variant, own in features.items():
            probability = calibration.probability(own[rows] @ weights + bias)
            columns = {"variant": variant, "fold": fold, "family": family, "row": rows, "probability": probability}
            tables.append(pd.DataFrame(columns | {"low": calibration.low, "high": calibration.high}))
    scores = pd.concat(tables, ignore_index=True)
    of_rows = scored.rows.assign(label=scored.labels, side=scored.rows["side"].astype(int))
    return scores.join(of_rows.iloc[scores["row"]].reset_index(drop=True)[["label", "group", "style", "side"]])


def pair_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """Return METRICS for each pair of a left-out family and a left-out photo source, from rows of `leave_out`.

    FPR and recall count every image at the limit `high`. Coverage and selective accuracy are means over both classes.
    """
    pairs = []
    for family, rows in scores.groupby("family"):
        fakes = rows[rows["label"] == FAKE]
        for source, photos in rows[rows["label"] == REAL].groupby("group"):
            same_head = fakes["fold"] == photos["fold"].iloc[0]
            pairs.append((family, source, *_pair(photos, fakes[same_head])))
    return pd.DataFrame(pairs, columns=["family", "photos", *METRICS])


def _pair(photos: pd.DataFrame, fakes: pd.DataFrame) -> tuple[float, ...]:
    false_positives, recall = ((rows["probability"] >= rows["high"]).mean() for rows in (photos, fakes))
    true_negatives, missed = ((rows["probability"] <= rows["low"]).mean() for rows in (photos, fakes))
    auc = auc_against(photos["probability"].to_numpy(), fakes["probability"].to_numpy())[0]
    covered = false_positives + recall + true_negatives + missed
    accuracy = (recall + true_negatives) / covered if covered else np.nan
    return auc, false_positives, recall, covered / 2, accuracy


def summary_rows(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return means over pairs: of all, of each family and of each photo source, with t intervals in [0, 1]."""
    tables = []
    for variant, own in scores.dropna(subset="probability").groupby("variant"):
        pairs = pair_metrics(own)
        parts = [({}, pairs, METRICS)]
        parts += [({"family": name}, rows, ["auc", "recall"]) for name, rows in pairs.groupby("family")]
        parts += [({"photos": name}, rows, ["auc", "false_positive_rate"]) for name, rows in pairs.groupby("photos")]
        for keys, rows, metrics in parts:
            slice_ = slice_of(**({"variant": variant} if variant else {}), **keys)
            means = metric_table({metric: mean_interval(rows[metric].dropna().to_numpy()) for metric in metrics})
            means[["low", "high"]] = means[["low", "high"]].clip(0, 1)  # shares and AUCs
            tables.append(result_rows(means, experiment=EXPERIMENT, model=model, set="development", slice=slice_))
    return pd.concat(tables, ignore_index=True)


def per_image(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each image: probability, low and high as means over the folds that left it out; its labels."""
    means = {"probability": "mean", "low": "mean", "high": "mean"}
    firsts = dict.fromkeys(["label", "group", "style", "side"], "first")
    return scores[scores["variant"] == ""].groupby("row").agg(means | firsts)


def slice_rows(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return AUC, FPR and recall by the size of the original, and AUC and recall by the style of generated images."""
    images = per_image(scores)
    images["called FAKE"] = images["probability"] >= images["high"]
    photos, fakes = images[images["label"] == REAL], images[images["label"] == FAKE]
    styles = [name for name in STYLES if (fakes["style"] == name).any()]
    tables = [_slice(photos, fakes[fakes["style"] == name], model, {"style": name}) for name in styles]
    for low, high in pairwise(SIDES):
        keys = {"side": f"{low} to {high - 1}" if high < SIDES[-1] else f"{low} and more"}
        own = [rows[rows["side"].between(low, high - 1)] for rows in (photos, fakes)]
        if all(map(len, own)):
            tables.append(_slice(*own, model, keys))
    return pd.concat(tables, ignore_index=True)


def _slice(photos: pd.DataFrame, fakes: pd.DataFrame, model: str, keys: Mapping[str, str]) -> pd.DataFrame:
    auc = auc_against(photos["probability"].to_numpy(), fakes["probability"].to_numpy())
    rates = {
        "false_positive_rate": proportion(photos["called FAKE"].sum(), len(photos)),
        "recall": proportion(fakes["called FAKE"].sum(), len(fakes)),
    }
    table = metric_table({"auc": (*auc, len(photos) + len(fakes))} | rates)
    return result_rows(table, experiment=EXPERIMENT, model=model, set="development", slice=slice_of(**keys))


def calibration_rows(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return calibration error, coverage and selective accuracy over all images, each scored when it was left out."""
    images = per_image(scores)
    p, fake = images["probability"].to_numpy(), (images["label"] == FAKE).to_numpy()
    covered = ((images["probability"] >= images["high"]) | (images["probability"] <= images["low"])).to_numpy()
    correct = covered & ((p >= images["high"].to_numpy()) == fake)
    error = expected_calibration_error(fake.astype(float), p)
    table = metric_table(
        {
            "calibration_error": (error, np.nan, np.nan, len(p)),
            "coverage": proportion(covered.sum(), len(p)),
            "selective_accuracy": proportion(correct.sum(), covered.sum()),
        }
    )
    return result_rows(table, experiment=EXPERIMENT, model=model, set="development", slice="images=all")
