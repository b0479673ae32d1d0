"""Tables and grids that the report, the card and the README read from the stored results."""

from collections.abc import Mapping, Sequence

import pandas as pd

from detector.core import files
from detector.data.corruptions import CORRUPTIONS, SEVERITIES
from detector.evaluation.results import pivot, read_results, result_rows, slice_of, with_slice_columns
from detector.evaluation.robustness import FORTIETH, RADII, TENTH
from detector.inference.calibration import CERTAINTY, OOD_RATE, RISK
from detector.models.base import Detector
from detector.models.weights import NATIVE_RELEASED, RELEASED, read_metadata
from detector.report.tables import in_words

SHARES = ("false_positive_rate", "recall")
TESTS = {"test": "official", "leak_free": "leak-free"}
SPEED = [
    ("cnn", "accuracy, mean"),
    ("cnn", "whole training"),
    ("cnn", "share of a large matrix product's speed"),
    ("compact CNN", "time relative to cnn"),
    ("usual CNN", "time relative to cnn"),
    ("cnn", "one image, PyTorch / ONNX Runtime"),
    ("cnn", "batch of 64, PyTorch / ONNX Runtime"),
    ("native", "share of its network's speed"),
    ("native", "answer"),
    ("native", "check of stability"),
]


def study(name: str) -> pd.DataFrame:
    """Return the results of a study, `benchmarks/results/<name>.csv`."""
    return read_results(files.STUDIES_DIR / f"{name}.csv")


def all_models() -> pd.DataFrame:
    """Return the results of released models on CIFAKE and `unseen/`, then those of models that were not released."""
    former = study("not_released").query("experiment == 'not released'")
    former = former.assign(model=former["model"] + " (not released)")
    return pd.concat([read_results().query("set != 'held_out'"), former], ignore_index=True)


def results_grid(metrics: Sequence[str]) -> pd.DataFrame:
    """Return some metrics of the released models on both tests: rows model and test, a column a metric, as text."""
    rows = read_results().query("set in @TESTS and slice == '' and metric in @metrics")
    grid = pivot(rows.assign(test=rows["set"].map(TESTS)), ["model", "test"], "metric", "text")
    return grid.reindex(list(RELEASED), level="model")[list(metrics)].rename(columns=in_words)


def scores_grid(scores: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """Return metrics of some networks on some tests, as text: rows model and test, a column a metric.

    Args:
        scores: `evaluate`'s tables by model and test.
    """
    rows = [result_rows(table, experiment="report", model=model, set=test) for (model, test), table in scores.items()]
    return (
        pivot(pd.concat(rows), ["model", "set"], "metric", "text")
        .rename_axis(["model", "test"])
        .rename(columns=in_words)
    )


def recipe_table() -> pd.DataFrame:
    """Return how the released models were trained, from the metadata of their files: a row a model."""
    columns = ["epochs", "batch_size", "optimizer", "learning_rate", "cutmix", "seed"]
    rows = {name: read_metadata(files.model_file(name))["recipe"] for name in RELEASED}
    return pd.DataFrame.from_dict(rows, orient="index")[columns].rename(columns=in_words).rename_axis("model")


def threshold_table(models: Mapping[str, Detector]) -> pd.DataFrame:
    """Return the thresholds of the decision rule: a row a model, with the rates that they were fitted to."""
    rows = {
        name: (model.confidence_threshold.item(), RISK, CERTAINTY, model.ood_threshold.item(), OOD_RATE)
        for name, model in models.items()
    }
    columns = ["confidence threshold", "error rate at most", "with certainty", "OOD threshold", "OOD rate of CIFAKE"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")


def sources_grid(metric: str) -> pd.DataFrame:
    """Return one metric of all models on each unseen source that has it: a row a source, a column a model."""
    return pivot(all_models().query("set == 'unseen' and slice != '' and metric == @metric"), "source", "model")


def photos_table() -> pd.DataFrame:
    """Return the FPR of all models on unseen photos: a row a model; columns value, low, high and n."""
    rows = all_models().query("set == 'unseen' and slice != '' and metric == 'false_positive_rate'")
    return rows.set_index("model")[["value", "low", "high", "n"]].astype({"n": int})


def source_shares(set: str) -> pd.DataFrame:
    """Return the share predicted FAKE on each source by the released models: the FPR of photos, or the recall.

    Args:
        set: 'unseen' (at 32 pixels) or 'held_out' (at native resolution).

    Columns source ('REAL/name' or 'FAKE/name'), model, value, low, high, n; photos first.
    """
    rows = with_slice_columns(read_results().query("set == @set and slice != '' and metric in @SHARES"))
    models = [*RELEASED, *NATIVE_RELEASED]
    order = [(row.source.startswith("FAKE"), models.index(row.model)) for row in rows.itertuples()]
    rows = rows.iloc[sorted(range(len(rows)), key=order.__getitem__)]
    return rows[["source", "model", "value", "low", "high", "n"]]


def corruption_grid(model: str, metric: str) -> pd.DataFrame:
    """Return one metric of a model by corruption type (rows) and severity (columns; 0 is uncorrupted).

    A row is named with its mildest and strongest value: 'blur, σ in pixels: 0.5 to 2'.
    """
    return _corruption_grid(all_models(), model, metric)


def _corruption_grid(results: pd.DataFrame, model: str, metric: str) -> pd.DataFrame:
    rows = results.query("model == @model and metric == @metric and set == 'test'").set_index("slice")["value"]
    values = {0: rows[slice_of(every=TENTH.step)]}
    for severity in SEVERITIES:
        cells = [slice_of(every=TENTH.step, corruption=name, severity=severity) for name in CORRUPTIONS]
        values[severity] = rows[cells].to_numpy()
    spans = [f"{c.description}: {c.severities[0]:g} to {c.severities[-1]:g}" for c in CORRUPTIONS.values()]
    return pd.DataFrame(values, pd.Index(spans, name="corruption"))


def robustness_table(results: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return accuracy of each model, as proportions: uncorrupted, mean and worst over corruptions, under attack.

    Args:
        results: those of `all_models`, where they are read already.
    """
    results = all_models() if results is None else results
    accuracy = results.query("set == 'test' and metric == 'accuracy'").set_index(["model", "slice"])["value"]
    rows = {}
    for model in results["model"].unique():
        grid = _corruption_grid(results, model, "accuracy")
        cells = grid[list(SEVERITIES)].stack()
        corruption, severity = cells.idxmin()
        rows[model] = {
            "uncorrupted": grid[0].iloc[0],
            "mean": cells.mean(),
            "worst": cells.min(),
            "worst corruption": f"{corruption.partition(':')[0]} (severity {severity})",
            **{f"PGD {radius}/255": accuracy[model, slice_of(every=FORTIETH.step, pgd=radius)] for radius in RADII},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def overview_table() -> pd.DataFrame:
    """Return all models at a glance, as text: accuracy, coverage, the worst corruption, unseen sources.

    FPR and AUC are means over unseen sources.
    """
    results = all_models()
    whole, photos, fakes = "set == 'test' and slice == ''", "slice.str.contains('REAL')", "slice.str.contains('FAKE')"
    columns = {
        "accuracy, official test": (f"{whole} and metric == 'accuracy'", "{:.2%}"),
        "coverage": (f"{whole} and metric == 'coverage'", "{:.1%}"),
        "FPR, unseen photos": (f"{photos} and metric == 'false_positive_rate'", "{:.1%}"),
        "AUC, unseen generators": (f"{fakes} and metric == 'auc'", "{:.3f}"),
    }
    means = {
        name: results.query(rows).groupby("model")["value"].mean().map(form.format)
        for name, (rows, form) in columns.items()
    }
    table = pd.DataFrame(means, pd.Index(results["model"].unique(), name="model"))
    table.insert(2, "accuracy, worst corruption", robustness_table(results)["worst"].map("{:.1%}".format))
    return table.fillna("–")


def component_runs() -> pd.DataFrame:
    """Return the runs of the ablation of the recipe: columns variant, seed, accuracy on validation."""
    return _ablation("recipe components", "variant")


def image_count_runs() -> pd.DataFrame:
    """Return the runs with fewer training images: columns images (int), seed, accuracy on validation."""
    return _ablation("training images", "images").astype({"images": int})


def _ablation(experiment: str, column: str) -> pd.DataFrame:
    rows = with_slice_columns(study("ablation").query("experiment == @experiment"))
    return rows.rename(columns={"value": "accuracy"})[[column, "seed", "accuracy"]]


def speed_table() -> pd.DataFrame:
    """Return the main measurements of `make bench`, those in SPEED: index model and metric; columns value and unit."""
    return study("speed").set_index(["model", "metric"]).loc[SPEED, ["value", "unit"]]


def gpu_speed_table() -> pd.DataFrame:
    """Return the fast recipe on an accelerator: a row a device; median seconds, mean and lowest accuracy (%), seeds."""
    runs = pivot(study("gpu_speed"), ["device", "seed"], "metric")
    groups = runs.groupby("device")
    columns = {
        "seconds (median)": groups["seconds"].median(),
        "mean (%)": 100 * groups["accuracy"].mean(),
        "lowest (%)": 100 * groups["accuracy"].min(),
        "seeds": groups.size(),
    }
    return pd.DataFrame(columns)


def mistake_runs() -> pd.DataFrame:
    """Return the runs with a mistake put back: columns mistake, seed, reported and accuracy."""
    return pivot(study("mistakes"), ["mistake", "seed"], "metric").reset_index()


def mistakes_table() -> pd.DataFrame:
    """Return reported and true accuracy (%) of each mistake, as means over seeds, and their differences in points."""
    means = 100 * mistake_runs().groupby("mistake", sort=False)[["reported", "accuracy"]].mean()
    cost, confidence = means["accuracy"] - means.loc["none", "accuracy"], means["reported"] - means["accuracy"]
    means = means.rename(columns={"reported": "as reported (%)", "accuracy": "in truth (%)"})
    return means.assign(**{"cost in points": cost, "false confidence in points": confidence})


def memory_table() -> pd.DataFrame:
    """Return the peak memory (GB, column value) of each command, and in its name where it was stopped."""
    rows = with_slice_columns(study("memory"))
    commands = rows["model"].str.replace(r" --out \S+", "", regex=True)
    names = commands + rows["note"].map(lambda note: "" if note == "to its end" else f" ({note})")
    return rows.set_index(names.rename("command"))[["value"]]


def scaling_table() -> pd.DataFrame:
    """Return what training in two processes and scoring on Ray reach here: columns value and unit."""
    rates = study("scoring").query("metric == 'images_per_core_second'").assign(metric="images a second and core")
    rows = pd.concat([study("scaling"), rates])
    return rows.groupby(["experiment", "model", "metric", "unit"], sort=False)["value"].mean().reset_index("unit")


def seed_table() -> pd.DataFrame:
    """Return mean, deviation and minimum over seeds of the accuracy of `cnn`'s recipe: a row a set."""
    summary = 100 * study("seeds").groupby("set", sort=False)["value"].agg(["mean", "std", "min"])
    words = {"mean": "mean (%)", "std": "deviation (points)", "min": "lowest (%)"}
    return summary.rename(index=lambda name: TESTS.get(name, name), columns=words)


def ood_table() -> pd.DataFrame:
    """Return AUC of OOD scores: a row a type of image, a column a score, best first; the last row is the mean."""
    grid = pivot(study("ood"), "images", "score")
    grid.loc["mean"] = grid.mean()
    return grid[grid.loc["mean"].sort_values(ascending=False).index]


def faithfulness_table() -> pd.DataFrame:
    """Return the faithfulness of attribution maps, best first: deletion, insertion, their gap, similarity."""
    grid = pivot(study("faithfulness"), "map", "metric")
    grid.insert(2, "insertion - deletion", grid["insertion"] - grid["deletion"])
    grid = grid.rename(columns={"similarity_to_random_weights": "similarity to random weights"})
    return grid.sort_values("insertion - deletion", ascending=False)


def leave_one_out_grid() -> pd.DataFrame:
    """Return the share predicted FAKE of each source: a row a source, a column what was left out of training."""
    rows = study("not_released").query("experiment == 'not released: leave one source out' and metric in @SHARES")
    return pivot(rows, "source", "without").rename_axis(columns="left out of training")


def resolution_grid() -> pd.DataFrame:
    """Return the share predicted FAKE of each source by the CNN at several resolutions of the same images."""
    rows = study("not_released").query("experiment == 'not released: resolutions' and metric in @SHARES")
    return pivot(rows, "source", "training")


def equal_time_table() -> pd.DataFrame:
    """Return networks after the same training time, most accurate first: a row a variant.

    Columns parameters, MACs (of one image), images (trained on), seconds, images_per_second, and value, low, high, n
    of the validation accuracy.
    """
    rows = study("transfer")
    accuracy = rows.query("metric == 'accuracy'").set_index("model")[["value", "low", "high", "n"]]
    grid = pivot(rows, "model", "metric")[["parameters", "MACs", "images", "seconds", "images_per_second"]]
    whole = dict.fromkeys(["parameters", "MACs", "images"], int)
    return grid.astype(whole).join(accuracy).sort_values("value", ascending=False).rename_axis("variant")


def pareto_front(table: pd.DataFrame) -> pd.Series:
    """Return which rows no other row beats in accuracy (`value`) at the same or fewer MACs: bool, by row."""
    ordered = table.sort_values(["MACs", "value"], ascending=[True, False])
    best_before = ordered["value"].cummax().shift(fill_value=-float("inf"))
    return (ordered["value"] > best_before).reindex(table.index)
