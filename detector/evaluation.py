"""How good a detector is: probabilities, metrics with 95% intervals, comparisons by subject."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from torch import nn

from detector.cifake import CLASSES
from detector.data import Images
from detector.prediction import predict
from detector.progress import InputError
from detector.weights import MODELS_DIR, digest_of

RESULTS = MODELS_DIR / "results.json"
LEDGER = MODELS_DIR.parent / "benchmarks" / "TEST_LEDGER.md"
PREDICTIONS = MODELS_DIR / "predictions.csv"
LEVEL = 0.95  # of every interval
SLICE = slice(None, None, 10)  # the test pictures that are changed, and that the report scores again


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), by scipy; (nan, nan) where n is 0."""
    if n == 0:
        return float("nan"), float("nan")
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(LEVEL, method="wilson")
    return interval.low, interval.high


def auc_interval(labels: np.ndarray, probs: np.ndarray) -> tuple[float, float, float]:
    """ROC-AUC and its interval by DeLong, DeLong and Clarke-Pearson 1988 (ranks as in Sun and Xu 2014).

    The interval is taken on the logit scale, so that it stays inside (0, 1); nan where a class has fewer than two.
    """
    fake, real = probs[labels == 1], probs[labels == 0]
    if min(len(fake), len(real)) < 2:
        return float("nan"), float("nan"), float("nan")
    ranks = stats.rankdata(np.concatenate([fake, real]))
    above_real = (ranks[: len(fake)] - stats.rankdata(fake)) / len(real)  # share of REAL below each FAKE
    below_fake = 1 - (ranks[len(fake) :] - stats.rankdata(real)) / len(fake)
    auc = roc_auc_score(labels, probs)
    error = np.sqrt(above_real.var(ddof=1) / len(fake) + below_fake.var(ddof=1) / len(real))
    if error == 0:  # perfectly apart, one way or the other: as uncertain as a share of the smaller class
        n = min(len(fake), len(real))
        return auc, *wilson(round(auc * n), n)
    reach = stats.norm.ppf((1 + LEVEL) / 2) * error / (auc * (1 - auc))
    logit = np.log(auc / (1 - auc))
    return auc, *(1 / (1 + np.exp(-(logit + np.array([-reach, reach])))))


def auc_against(known: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """`auc_interval` of scores (N,) that should be higher for the `others`, (M,), than for the known."""
    labels = np.repeat([0, 1], [len(known), len(others)])
    return auc_interval(labels, np.concatenate([known, others]).astype(np.float64))


def f1_interval(table: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """F1 of a confusion matrix and its percentile-bootstrap interval: its four counts, drawn anew.

    Half a picture is added to each count that is drawn from, so that a perfect score is not certain.
    """
    counts = table.ravel()
    smoothed = counts + 0.5
    drawn = np.random.default_rng(seed).multinomial(counts.sum(), smoothed / smoothed.sum(), size=draws)
    f1 = 2 * drawn[:, 3] / np.maximum(2 * drawn[:, 3] + drawn[:, 1] + drawn[:, 2], 1)
    value = 2 * counts[3] / max(2 * counts[3] + counts[1] + counts[2], 1)
    return value, *np.quantile(f1, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])


def metric_rows(rows: Mapping[str, tuple]) -> pd.DataFrame:
    """A row a metric, of its value, low, high, n."""
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "n"]).rename_axis("metric")


def share(k: int, n: int) -> tuple[float, float, float, int]:
    """k of n: value, Wilson's interval, n."""
    return k / n if n else np.nan, *wilson(k, n), n


def evaluate(probs: torch.Tensor, labels: torch.Tensor, *, threshold: float = 0.5) -> pd.DataFrame:
    """Metrics of P(FAKE) (N,) against labels (N,): a row a metric, with columns value, low, high, n.

    n is the number of pictures that the metric is a share of: all, the predicted FAKE (precision), the FAKE
    (recall), the REAL (false_fake_rate).
    """
    table = confusion(probs, labels, threshold=threshold).to_numpy()
    (real_right, false_fake), (missed, found) = table
    shares = {
        "accuracy": (real_right + found, table.sum()),
        "precision": (found, found + false_fake),
        "recall": (found, found + missed),
        "false_fake_rate": (false_fake, false_fake + real_right),
    }
    rows = {name: share(*counts) for name, counts in shares.items()}
    rows["f1"] = (*f1_interval(table), table.sum())
    rows["auc"] = (*auc_interval(labels.numpy(), probs.double().numpy()), table.sum())
    return metric_rows(rows)


def confusion(probs: torch.Tensor, labels: torch.Tensor, *, threshold: float = 0.5) -> pd.DataFrame:
    """Counts, rows what a picture is, columns what it is called."""
    table = confusion_matrix(labels, probs >= threshold, labels=[0, 1])
    return pd.DataFrame(table, pd.Index(CLASSES, name="is"), pd.Index(CLASSES, name="called"))


def accuracy_by_subject(probs: torch.Tensor, images: Images, names: tuple[str, ...]) -> pd.DataFrame:
    """Accuracy of each class and subject at threshold 1/2: columns subject, class, value, low, high, n."""
    right = ((probs >= 0.5) == images.labels.bool()).numpy()
    rows = []
    for subject, name in enumerate(names):
        for label, class_ in enumerate(CLASSES):
            chosen = ((images.subjects == subject) & (images.labels == label)).numpy()
            hits, n = right[chosen].sum(), chosen.sum()
            rows.append((name, class_, *share(hits, n)))
    return pd.DataFrame(rows, columns=["subject", "class", "value", "low", "high", "n"])


def roc_points(probs: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold, by scikit-learn."""
    false, true, _ = roc_curve(labels.numpy(), probs.numpy())
    return false, true


def worst_errors(probs: torch.Tensor, labels: torch.Tensor, count: int) -> torch.Tensor:
    """Rows of the `count` pictures that are called wrong with most confidence, worst first."""
    error = (probs - labels).abs()
    return torch.argsort(error, descending=True)[: min(count, int((error > 0.5).sum()))]


def check_slices(
    models: Mapping[str, nn.Module], test: Images, path: Path = RESULTS, predictions: Path = PREDICTIONS
) -> pd.DataFrame:
    """Score shipped models again on every tenth test picture, beside what the records say of them.

    A row a model, with columns recorded and recomputed (accuracy), agree (equal to within one picture), largest
    difference (of P(FAKE), between any picture's and the one on file), n.
    """
    images, records, rows = test[SLICE], records_table("test/slice", path), {}
    filed = read_predictions(predictions)
    for name, model in models.items():
        if (name, "accuracy") not in records.index or name not in filed:
            raise InputError(f"{path} has no figures of {name}: run `python -m detector evaluate`.")
        probs = predict(model, images.pixels)
        value, recorded = (
            evaluate(probs, images.labels).loc["accuracy", "value"],
            records.loc[(name, "accuracy"), "value"],
        )
        difference = np.abs(filed.loc[images.files, name].to_numpy() - probs.double().numpy()).max()
        rows[name] = recorded, value, bool(abs(value - recorded) < 1.01 / len(images)), difference, len(images)
    columns = ["recorded", "recomputed", "agree", "largest difference", "n"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")


def read_predictions(path: Path = PREDICTIONS) -> pd.DataFrame:
    """P(FAKE) of each test picture as the shipped models gave it: a row a file, a column a model."""
    try:
        return pd.read_csv(path, index_col="file")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: restore it, or make it by `python -m detector evaluate`.") from error


def evaluate_source(probs: torch.Tensor, label: int, photographs: torch.Tensor) -> pd.DataFrame:
    """How pictures of one source are judged at threshold 1/2, by their P(FAKE) (N,) and what they all are.

    Of photographs the false_fake_rate; of a generator's pictures the recall, and the AUC against the P(FAKE) (M,) of
    `photographs` of another source. Columns value, low, high, n as `evaluate` has.
    """
    k, n = int((probs >= 0.5).sum()), len(probs)
    rows = {"recall" if label else "false_fake_rate": share(k, n)}
    if label:
        rows["auc"] = (*auc_against(photographs.numpy(), probs.numpy()), n)
    return metric_rows(rows)


def record(model: str, set_: str, metrics: pd.DataFrame, path: Path = RESULTS) -> None:
    """Put the metrics of `model` on `set_` into the records, in place of what stood there for them."""
    rows = metrics.reset_index().assign(model=model, set=set_)[["model", "set", "metric", "value", "low", "high", "n"]]
    kept = [row for row in read_records(path) if (row["model"], row["set"]) != (model, set_)]
    _write_records(kept + json.loads(rows.to_json(orient="records", double_precision=6)), path)


def forget(model: str, path: Path = RESULTS, *, keep: str | None = None) -> None:
    """Take the records of `model` out: they may be of other weights, or of sets that are not there any more.

    Those of sets whose names begin with `keep` stay.
    """
    rows = read_records(path)
    kept = [row for row in rows if row["model"] != model or (keep is not None and row["set"].startswith(keep))]
    _write_records(kept, path)


def _write_records(records: list[dict], path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_text("[\n" + ",\n".join(json.dumps(row) for row in records) + "\n]\n")
    part.replace(path)


def note_first_look(
    weights: Path, set_: str, accuracy: float, *, name: str | None = None, ledger: Path = LEDGER
) -> None:
    """Add a line to the ledger where these very weights are scored for the first time on a set that chooses nothing.

    They go by the `name`, or else by the stem of their file.
    """
    if not was_scored(weights, set_, name=name, ledger=ledger):
        with ledger.open("a") as file:
            file.write(f"| {date.today()} {_ledger_key(weights, set_, name)} {100 * accuracy:.2f} |\n")


def was_scored(weights: Path, set_: str, *, name: str | None = None, ledger: Path = LEDGER) -> bool:
    """Whether the ledger has these very weights on that set, by `name` as of `note_first_look`."""
    return _ledger_key(weights, set_, name) in ledger.read_text()


def _ledger_key(weights: Path, set_: str, name: str | None) -> str:
    return f"| {name or weights.stem} | `{digest_of(weights)}` | {set_} |"


def read_records(path: Path = RESULTS) -> list[dict]:
    """The figures of record, a list of {model, set, metric, value, low, high, n}; empty where there are none yet.

    Raises InputError if the file is not whole.
    """
    try:
        return json.loads(path.read_text()) if path.exists() else []
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not whole ({error}): restore it, or delete it and evaluate anew.") from error


def records_table(set_: str, path: Path = RESULTS) -> pd.DataFrame:
    """The records of one set: a row a model and metric."""
    table = pd.DataFrame(read_records(path), columns=["model", "set", "metric", "value", "low", "high", "n"])
    return table[table["set"] == set_].drop(columns="set").set_index(["model", "metric"])
