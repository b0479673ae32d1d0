"""What was measured in runs longer than the report's, or with the machine to themselves: benchmarks/*.csv, as data."""

from pathlib import Path

import pandas as pd

from detector.progress import InputError

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
OF_PARTS = ["false_fake_rate", "recall", "auc", "coverage", "accuracy_answered"]  # what is shown of patches.csv


def speed_table(path: Path = BENCHMARKS / "bench.csv") -> pd.DataFrame:
    """What `make bench` measured: a row a measurement, with columns value, unit, how."""
    return _read(path, "make bench").set_index("what")


def race_table(path: Path = BENCHMARKS / "race.csv") -> pd.DataFrame:
    """The fastest recipe on an accelerator: a row a device; median seconds, mean and lowest accuracy (%), seeds."""
    runs = _read(path, "python -m benchmarks.race").assign(accuracy=lambda rows: 100 * rows["accuracy"])
    found = runs.groupby("device").agg(
        seconds=("seconds", "median"), mean=("accuracy", "mean"), lowest=("accuracy", "min"), seeds=("seed", "nunique")
    )
    return found.rename(columns={"seconds": "seconds (median)", "mean": "mean (%)", "lowest": "lowest (%)"})


def training_runs(study: str, path: Path = BENCHMARKS / "ablation.csv") -> pd.DataFrame:
    """The runs of one study of `make ablation`, 'part' or 'images': columns what, seed, accuracy (on validation)."""
    runs = _read(path, "make ablation").query("study == @study").drop(columns="study").reset_index(drop=True)
    return runs.astype({"what": int}) if study == "images" else runs


def seed_table(path: Path = BENCHMARKS / "seeds.csv") -> pd.DataFrame:
    """Accuracy (%) of the shipped recipes by seed, and their mean and deviation over seeds: a row each."""
    columns = ["validation", "official test", "leak-free test"]
    runs = (
        _read(path, "python -m benchmarks.seeds")
        .assign(seed=lambda rows: rows["seed"].astype(str))
        .set_index(["model", "seed"])
    )
    runs = 100 * runs[columns]
    summary = runs.groupby("model", sort=False).agg(["mean", "std"]).stack(level=1, future_stack=True)
    summary = summary.rename(index={"std": "deviation"}, level=1)
    return pd.concat([runs, summary.rename_axis(runs.index.names)]).sort_index(level="model", sort_remaining=False)


def unlikeness_table(path: Path = BENCHMARKS / "unlikeness.csv") -> pd.DataFrame:
    """AUROC of scores of unlikeness: a row a kind of picture, a column a score; the mean over kinds in the last row."""
    table = _read(path, "python -m benchmarks.unlikeness").pivot(index="kind", columns="score", values="value")
    table.loc["mean"] = table.mean()
    return table[table.loc["mean"].sort_values(ascending=False).index]


def explanation_table(path: Path = BENCHMARKS / "explanations.csv") -> pd.DataFrame:
    """How faithful maps are: a row a map, the best first; deletion, insertion, their gap, how like random weights'."""
    table = _read(path, "python -m benchmarks.explanations").pivot(index="map", columns="measure", values="value")
    table.insert(2, "insertion - deletion", table["insertion"] - table["deletion"])
    return table.sort_values("insertion - deletion", ascending=False)


def left_out_table(metric: str, path: Path = BENCHMARKS / "sources.csv") -> pd.DataFrame:
    """Figures of each source's validation part, as text: a row a source, a column what was left out of training.

    The 'share' called FAKE, of photographs (REAL/) an error, of the others what is found; or the 'auc' of fakes
    against CIFAKE's photographs.
    """
    table = _told(_read(path, "python -m benchmarks.sources"))
    table = table[(table["metric"] == "auc") == (metric == "auc")]
    columns = list(dict.fromkeys(table["without"]))  # in the order of the runs
    rows = list(dict.fromkeys(table["source"]))
    told = table.pivot(index="source", columns="without", values="told").loc[rows, columns]
    return told.rename(index=lambda name: name.replace("/made_", "/"))


def outsiders_table(path: Path = BENCHMARKS / "outsiders.csv") -> pd.DataFrame:
    """AUC of scores that know CIFAKE alone on generators that draw at 32 pixels: a row a score, the best first.

    Columns: the mean over the makers that no score met, the best score's mean over `data/unseen/`; and as text CIFAKE's
    own fakes, and each of these makers.
    """
    rows = _told(_read(path, "python -m benchmarks.outsiders").assign(metric="auc"))
    table, told = (rows.pivot(index="score", columns="source", values=values) for values in ("value", "told"))
    unseen = table.columns.str.startswith("unseen/")
    unmet = table.columns.str.contains("gan_|denoiser") & ~unseen
    means = {"mean, not met": table.loc[:, unmet], "mean, unseen": table.loc[:, unseen]}
    means = pd.DataFrame({name: part.mean(axis=1) for name, part in means.items()})
    shown = means.join([told["FAKE/cifake"], told.loc[:, unmet]]).sort_values("mean, not met", ascending=False)
    return shown.rename(columns=lambda name: name.removeprefix("FAKE/").removeprefix("made_"))


def patches_table(path: Path = BENCHMARKS / "patches.csv") -> pd.DataFrame:
    """How pictures larger than 32 pixels are judged, as text.

    A row a model and way, a column a source and one of OF_PARTS.
    """
    table = _told(_read(path, "python -m benchmarks.patches"))
    shown = table[table["metric"].isin(OF_PARTS)]
    told = shown.pivot(index=["model", "way"], columns=["source", "metric"], values="told")
    return told.rename(columns=lambda metric: metric.replace("_", " "), level="metric")


def resolution_table(path: Path = BENCHMARKS / "resolutions.csv") -> pd.DataFrame:
    """The CNN at several sizes of the same pictures, a row a source and metric, a column a run with its time."""
    table = _told(_read(path, "python -m benchmarks.resolutions"))
    table["run"] += table["seconds"].map("\n({:.0f}\xa0s)".format)
    order = {name: list(dict.fromkeys(table[name])) for name in ("source", "metric", "run")}
    told = table.pivot(index=["source", "metric"], columns="run", values="told")[order["run"]]
    told = told.reindex(order["source"], level="source").reindex(order["metric"], level="metric")
    return told.rename(index=lambda name: name.replace("/made_", "/").replace("false_fake_rate", "false fake rate"))


def transfer_table(path: Path = BENCHMARKS / "transfers.csv") -> pd.DataFrame:
    """What networks came to in the same seconds of training, best first: a row a variant.

    Columns parameters, MACs (of one picture), images (seen in training), seconds (that the training took),
    images_per_second, and value, low, high, n of the validation accuracy.
    """
    rows = _read(path, "python -m benchmarks.transfers").set_index("variant")
    if len(rows[["device", "budget"]].drop_duplicates()) > 1:
        raise InputError(f"{path} has runs on several devices, or of several budgets: keep those of one.")
    rows = rows.rename(columns={"validation_accuracy": "value"}).sort_values("value", ascending=False)
    return rows[["parameters", "MACs", "images", "seconds", "images_per_second", "value", "low", "high", "n"]]


def pareto_front(table: pd.DataFrame) -> pd.Series:
    """Which rows no other beats in accuracy (`value`) at as few MACs or fewer: bool, by the table's index."""
    ordered = table.sort_values(["MACs", "value"], ascending=[True, False])
    best_before = ordered["value"].cummax().shift(fill_value=-float("inf"))
    return (ordered["value"] > best_before).reindex(table.index)


def ensemble_table(path: Path = BENCHMARKS / "ensembles.csv") -> pd.DataFrame:
    """Accuracy of several models together: a row a set of members and of pictures; value, low, high, n."""
    rows = _read(path, "python -m benchmarks.ensembles").set_index(["members", "set"])
    return rows.rename(columns={"accuracy": "value"})[["value", "low", "high", "n"]]


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy of each variant, its deviation over seeds, their number, and the difference from the first (%)."""
    rows = 100 * runs.groupby("what", sort=False)["accuracy"].agg(["mean", "std"])
    rows["seeds"] = runs.groupby("what", sort=False)["seed"].nunique()
    rows["difference"] = rows["mean"] - rows["mean"].iloc[0]
    return rows.rename(columns={"mean": "mean (%)", "std": "deviation over seeds", "difference": "against the first"})


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with metric, value, low and high, and `told`: the value, and on a second line its interval in short.

    A word joiner keeps the interval in one piece.
    """
    told = [
        f"{value:.4f}\n({low:.3f}–\u2060{high:.3f})"
        if metric == "auc"
        else f"{100 * value:.2f}%\n({100 * low:.1f}–\u2060{100 * high:.1f})"
        for metric, value, low, high in rows[["metric", "value", "low", "high"]].itertuples(index=False)
    ]
    return rows.assign(told=told)


def _read(path: Path, command: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: restore it from the repository, or make it by `{command}`.") from error
