"""Score released models on the sources at native resolution that were set aside (`data.native.HELD_OUT`).

Frozen weights only: the first scoring of each file is a line in the access log.
"""

import numpy as np
import pandas as pd
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.core.console import UserError, progress
from detector.core.labels import CLASSES, FAKE, REAL
from detector.data.native import is_held_out, open_crop, read_manifest
from detector.evaluation.access_log import record_access
from detector.evaluation.results import read_results, result_rows, slice_of, write_results
from detector.inference.decision import first_prediction
from detector.metrics.intervals import auc_against, metric_table, proportion
from detector.models.base import Detector
from detector.models.native import Native

SET = "held_out"


def evaluate_held_out(name: str, model: Detector) -> None:
    """Score a released model, put its rows into models/results.csv in place of earlier ones, and log the access.

    Raises UserError if `data/sources` is missing.
    """
    scores = score_held_out(model)
    table = read_results()
    kept = (table["model"] != name) | (table["set"] != SET)
    write_results(pd.concat([table[kept], held_out_rows(scores, name)]))
    accuracy = (scores["called_fake"] == (scores["label"] == FAKE)).mean()
    record_access(files.model_file(name), SET, accuracy)


def score_held_out(model: Detector) -> pd.DataFrame:
    """Return a row for each unscaled crop of the sources set aside: label, source, probability, decision, called_fake.

    `decision` is that of the rule, for `Native` without the check of stability. `called_fake` counts every image at the
    model's upper limit (1/2 for other models), abstentions included.
    """
    manifest = read_manifest()
    rows = manifest[is_held_out(manifest) & (manifest["variant"] == "native")].rename(columns={"class": "label"})
    if not files.SOURCES_DIR.is_dir():
        raise UserError(f"{files.SOURCES_DIR} is missing. Make it by `python -m detector rebuild`.")
    high, scores = model.limits[1].item() if isinstance(model, Native) else 0.5, []
    for row in progress(rows.itertuples(), total=len(rows), desc="scoring the sources set aside", unit=" images"):
        prediction = first_prediction(model, TF.to_pil_image(open_crop(row)))
        scores.append((CLASSES.index(row.label), row.source, prediction.probability, prediction.label))
    table = pd.DataFrame(scores, columns=["label", "source", "probability", "decision"])
    return table.assign(called_fake=table["probability"] >= high)


def held_out_rows(scores: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return AUC, FPR, recall, coverage and selective accuracy, overall and by source, as rows of the store.

    The AUC of a generator compares it with all photos set aside, that of a photo source with all generated images.
    """
    tables = [_rows(scores, scores[:0], model, "")]
    for (label, source), own in scores.groupby(["label", "source"]):
        slice_ = slice_of(source=f"{CLASSES[label]}/{source}")
        tables.append(_rows(own, scores[scores["label"] != label], model, slice_))
    return pd.concat(tables, ignore_index=True)


def _rows(own: pd.DataFrame, others: pd.DataFrame, model: str, slice_: str) -> pd.DataFrame:
    both = pd.concat([own, others]).dropna(subset="probability")  # blank images have none
    photos, fakes = (both.loc[both["label"] == label, "probability"].to_numpy() for label in (REAL, FAKE))
    called = {label: own.loc[own["label"] == label, "called_fake"] for label in (REAL, FAKE)}
    covered = own["decision"].notna()
    correct = own["decision"] == np.array(CLASSES)[own["label"]]
    rates = {
        "false_positive_rate": proportion(int(called[REAL].sum()), len(called[REAL])),
        "recall": proportion(int(called[FAKE].sum()), len(called[FAKE])),
        "coverage": proportion(int(covered.sum()), len(own)),
        "selective_accuracy": proportion(int(correct.sum()), int(covered.sum())),
    }
    rates = {name: values for name, values in rates.items() if values[-1]}
    table = metric_table({"auc": (*auc_against(photos, fakes), len(own))} | rates)
    return result_rows(table, experiment="evaluation", model=model, set=SET, slice=slice_)
