"""The evaluation of released models, and the check that it is reproduced.

Sets and slices in `models/results.csv`: validation; test; leak_free; test with 'every=10' (reproduced by the report),
with 'every=10;corruption=…;severity=…' and with 'every=40;pgd=…'; unseen, whole and by 'source=REAL/<source>'.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES, REAL
from detector.data.corruptions import corrupt
from detector.data.dataset import Dataset, Images, leak_free_rows
from detector.evaluation.access_log import record_access, was_scored
from detector.evaluation.results import read_results, result_rows, slice_of, write_results
from detector.evaluation.robustness import TENTH, corrupt_all, robustness_rows
from detector.inference.decision import decide
from detector.inference.predict import predict
from detector.metrics.classification import evaluate
from detector.metrics.summary import evaluate_decisions, evaluate_source_decisions
from detector.models.base import Detector
from detector.models.weights import NATIVE_RELEASED, RELEASED

ORDER = {name: place for place, name in enumerate([*RELEASED, *NATIVE_RELEASED])}


def evaluate_released(
    models: Mapping[str, Detector], data: Dataset, unseen: Images, folder: Path | None = None
) -> None:
    """Score models and write results.csv and predictions.csv, each model's part as soon as it is done.

    Args:
        models: by name.
        data: CIFAKE.
        unseen: images of other sources. Where there are none, results of the same weights on them stay.
        folder: where to write. By default models/: then the test-set access log is kept too.
    """
    official, folder = folder is None, folder or files.MODELS_DIR
    corrupted = corrupt_all(data.test.pixels[TENTH])
    for name, model in models.items():
        decisions, weights = decide(model, data.test.pixels), folder / f"{name}.safetensors"
        tables = _tables(model, data, unseen, corrupted, decisions)
        rows = [
            result_rows(table, experiment="evaluation", model=name, set=set_, slice=slice_)
            for (set_, slice_), table in tables.items()
        ]
        keep_unseen = official and not len(unseen) and was_scored(weights, "unseen")
        _replace_model(name, pd.concat(rows), folder / files.RESULTS.name, keep_unseen=keep_unseen)
        _write_predictions(name, data.test, decisions["probability"].to_numpy(), folder / files.PREDICTIONS.name)
        for set_ in ("test", "unseen"):
            if official and (set_, "") in tables:
                record_access(weights, set_, tables[set_, ""].loc["accuracy", "value"])


def _tables(
    model: Detector, data: Dataset, unseen: Images, corrupted: Mapping[str, torch.Tensor], decisions: pd.DataFrame
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return a metric table for each set and slice. `decisions` are those on the test images.

    FAKE unseen sources are scored against the decisions on CIFAKE's test photos.
    """
    test, leak_free = data.test, leak_free_rows(data.test.files)
    tables = {
        ("validation", ""): evaluate_decisions(decide(model, data.validation.pixels), data.validation.labels),
        ("test", ""): evaluate_decisions(decisions, test.labels),
        ("leak_free", ""): evaluate_decisions(decisions[leak_free], test.labels[leak_free]),
    }
    tables |= {("test", slice_): table for slice_, table in robustness_rows(model, test, corrupted).items()}
    if not len(unseen):
        return tables
    photos, others = decisions[(test.labels == REAL).numpy()], decide(model, unseen.pixels)
    tables["unseen", ""] = evaluate(torch.tensor(others["probability"].to_numpy(np.float32)), unseen.labels)
    for label, source in unseen.by_source():
        own = (unseen.labels == label).numpy() & (unseen.source == source)
        slice_ = slice_of(source=f"{CLASSES[label]}/{source}")
        tables["unseen", slice_] = evaluate_source_decisions(others[own], label, photos)
    return tables


def _replace_model(name: str, rows: pd.DataFrame, path: Path, *, keep_unseen: bool) -> None:
    """Write a model's rows in place of its old ones, of which those on unseen sources may stay.

    Models are in the order of RELEASED, because the tables of the report follow the order of the rows.
    """
    old = read_results(path) if path.exists() else rows[:0]
    kept = (old["model"] != name) | ((old["set"] == "unseen") & keep_unseen)
    table = pd.concat([rows, old[kept]]) if kept.any() else rows
    write_results(table.sort_values("model", key=lambda names: names.map(ORDER), kind="stable"), path)


def read_predictions(path: Path | None = None) -> pd.DataFrame:
    """Return P(FAKE) of each test image by the released models: index file; columns label (0, 1), then the models."""
    path = path or files.PREDICTIONS
    try:
        return pd.read_csv(path, index_col="file")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing. Restore it with git, or run `python -m detector evaluate`.") from error


def _write_predictions(name: str, test: Images, probabilities: np.ndarray, path: Path) -> None:
    table = pd.DataFrame({"label": test.labels.numpy()}, index=pd.Index(test.files, name="file"))
    if path.exists():
        table = table.join(read_predictions(path).drop(columns="label"))
    table[name] = probabilities
    with files.atomic_write(path) as part:
        table.to_csv(part, float_format="%.7g", lineterminator="\n")


def check_predictions(models: Mapping[str, nn.Module], test: Images) -> pd.DataFrame:
    """Score every tenth test image again and compare with the committed results and predictions.

    Returns:
        A row a model; columns stored, reproduced (accuracy), agree (equal to within one image), largest difference
        (of P(FAKE), over the images), n.
    """
    images = test[TENTH]
    probabilities = {name: predict(model, images.pixels) for name, model in models.items()}
    table, stored = _compare(probabilities, images, slice_of(every=TENTH.step)), read_predictions().loc[images.files]
    differences = [np.abs(stored[name].to_numpy() - own.double().numpy()).max() for name, own in probabilities.items()]
    table.insert(3, "largest difference", differences)
    return table


def check_robustness(models: Mapping[str, nn.Module], test: Images, corruption: str, severity: int) -> pd.DataFrame:
    """Score every tenth test image again under one corruption; columns stored, reproduced, agree, n."""
    images = test[TENTH]
    corrupted = corrupt(images.pixels, corruption, severity)
    probabilities = {name: predict(model, corrupted) for name, model in models.items()}
    return _compare(probabilities, images, slice_of(every=TENTH.step, corruption=corruption, severity=severity))


def _compare(probabilities: Mapping[str, torch.Tensor], images: Images, slice_: str) -> pd.DataFrame:
    results = read_results().query("set == 'test' and slice == @slice_ and metric == 'accuracy'").set_index("model")
    if missing := [name for name in probabilities if name not in results.index]:
        raise UserError(f"{files.RESULTS} has no results of {', '.join(missing)}. Run `python -m detector evaluate`.")
    rows = {}
    for name, own in probabilities.items():
        value, stored = evaluate(own, images.labels).loc["accuracy", "value"], results.loc[name, "value"]
        rows[name] = stored, value, bool(abs(value - stored) < 1.01 / len(images)), len(images)
    columns = ["stored", "reproduced", "agree", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")
