"""How the report says things that are not figures: its banner and its tables."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from detector.budgets import BUDGETS, DEFAULT
from detector.data import Dataset
from detector.evaluation import RESULTS, read_records, records_table
from detector.figures import label_figures, titled
from detector.progress import InputError
from detector.robustness import robustness_table
from detector.weights import SHIPPED

# test accuracy on CIFAKE as reported elsewhere, %; grade: 'read' in a results file or notebook, 'claim' otherwise
LITERATURE = [
    ("CNN, 32 px", 92.98, "claim", "Bird and Lotfi 2023, arXiv 2303.14126"),
    ("CNN, three layers, 224 px", 96.0, "claim", "GitHub stefsyrsiri/synthetic-image-detection"),
    ("CNN, 288k parameters, 32 px", 97.62, "read", "GitHub leyixu26/cifake-detection"),
    ("DenseNet-121 with squeeze-excitation, 32 px", 98.56, "claim", "garuda.kemdiktisaintek.go.id 5886889"),
    ("ViT-S/16, ImageNet weights, 224 px", 98.77, "read", "GitHub leyixu26/cifake-detection"),
    ("ViT-B/16, 224 px", 99.30, "claim", "Hugging Face bsgcasa/vit-real-vs-ai-detector"),
]


def figures_from_literature() -> pd.DataFrame:
    """Test accuracy on CIFAKE as others report it, with what it rests on."""
    return pd.DataFrame(LITERATURE, columns=["model", "accuracy (%)", "grade", "source"]).set_index("model")


NEAR_COPIES = [("ciFAIR, by eye", 286, 39, "Barz and Denzler 2020, arXiv 1902.00423")]


def near_copies_elsewhere() -> pd.DataFrame:
    """CIFAR-10 test pictures with a near-copy, as others count them."""
    columns = ["list", "with one in train", "with one in test only", "source"]
    return pd.DataFrame(NEAR_COPIES, columns=columns).set_index("list")


MARKS = ("<!-- records: written by `python -m detector evaluate` -->", "<!-- end of records -->")


def shipped_table(path: Path = RESULTS) -> str:
    """README's table of the shipped models, in Markdown, from the records; of the leak-free test but for one column."""
    lines = [
        "| model | accuracy, official test | accuracy, leak-free test | AUC | photographs called FAKE "
        "| calibration error | answers | of these right |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    official, leak_free = records_table("test", path), records_table("leak_free", path)
    for model, words in SHIPPED.items():
        both = [_with_interval(table.loc[(model, "accuracy")]) for table in (official, leak_free)]
        value = leak_free.loc[model, "value"]
        shares = [f"{100 * value[name]:.2f}%" for name in ("false_fake_rate", "ece", "coverage", "accuracy_answered")]
        cells = [f"`{model}`, {words}", *both, f"{value['auc']:.4f}", *shares]
        lines.append(f"| {' | '.join(cells)} |")
    counts = [int(table.loc[(model, "accuracy"), "n"]) for table in (official, leak_free)]
    lines.append(f"| pictures | {counts[0]:,} | {counts[1]:,} | | | | | |")
    return "\n".join(lines)


def _with_interval(row: pd.Series) -> str:
    return f"{100 * row['value']:.2f}% ({100 * row['low']:.2f} – {100 * row['high']:.2f})"


def records_grid(metrics: Sequence[str], path: Path = RESULTS) -> pd.DataFrame:
    """Some metrics of the shipped models on both tests, from the records: '0.9812 (0.9790 – 0.9830)' each.

    Rows model and test, a column a metric; shares in percent, areas and losses as they are.
    """
    tests = {"official": records_table("test", path), "leak-free": records_table("leak_free", path)}
    rows = {
        (model, test): [in_words(metric, table.loc[(model, metric)]) for metric in metrics]
        for model in SHIPPED
        for test, table in tests.items()
    }
    index = pd.MultiIndex.from_tuples(rows, names=["model", "test"])
    return pd.DataFrame(list(rows.values()), index, columns=[metric.replace("_", " ") for metric in metrics])


def in_words(metric: str, row: pd.Series) -> str:
    """A record with its interval: a share in percent, an area or a loss as it is; a dash where there is none."""
    if pd.isna(row["value"]):
        return "–"
    if metric in ("auc", "unlike_auc", "average_precision", "nll", "brier"):
        return f"{row['value']:.4f} ({row['low']:.4f} – {row['high']:.4f})"
    return _with_interval(row)


def sources_grid(metric: str, path: Path = RESULTS) -> pd.DataFrame:
    """One metric of the shipped models on each unseen source that has it, from the records: a column a model, and n.

    Where n differs by model it stands in each cell instead.
    """
    records = pd.DataFrame(read_records(path))
    records = records[records["set"].str.startswith("unseen/") & (records["metric"] == metric)]
    records = records.assign(source=records["set"].str.removeprefix("unseen/"))
    n = records.groupby("source")["n"]
    by_model = n.nunique().max() > 1
    words = [in_words(metric, row) + (f" of {row['n']:,}" if by_model else "") for _, row in records.iterrows()]
    grid = records.assign(shown=words).pivot(index="source", columns="model", values="shown")
    grid = grid.reindex(columns=list(SHIPPED))
    return grid if by_model else grid.assign(n=n.first())


def overview_table(path: Path = RESULTS) -> pd.DataFrame:
    """The shipped models at a glance, from the records, as text: a row a model, and a dash where nothing is on record.

    Columns: right about the official test; given a verdict there; right about the most harmful change; photographs of
    other sources called FAKE (where there are several, the mean), and the mean AUC of other generators.
    """
    records = pd.DataFrame(read_records(path)).pivot(index=["set", "metric"], columns="model", values="value")

    def mean(sets: str, metric: str) -> pd.Series:
        found = records.query("metric == @metric")
        return found[found.index.get_level_values("set").str.match(sets)].mean()

    columns = {
        "official test right": mean("test$", "accuracy").map("{:.2%}".format),
        "given a verdict": mean("test$", "coverage").map("{:.1%}".format),
        "worst change right": robustness_table(list(SHIPPED), path)["worst"].map("{:.1%}".format),
        "other photographs called FAKE": mean("unseen/REAL/", "false_fake_rate").map("{:.1%}".format),
        "other generators, mean AUC": mean("unseen/FAKE/", "auc").map("{:.3f}".format),
    }
    return pd.DataFrame(columns).loc[list(SHIPPED)].replace("nan%|nan", "–", regex=True).rename_axis("model")


def write_shipped_table(page: Path, path: Path = RESULTS) -> None:
    """Put `shipped_table` between the marks of a Markdown page. Raises InputError if the page has no marks."""
    text = page.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        raise InputError(f"{page} has no place for the table of records, between {' and '.join(MARKS)}.")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{shipped_table(path)}\n{MARKS[1]}{after}", encoding="utf-8")


def banner(data: Dataset, budget: str) -> Markdown:
    """What this run is; from now on the titles of figures and tables say so where it is not CIFAKE as a whole.

    The prose of the report describes the committed run: CIFAKE, the default budget.
    """
    label_figures("" if data.name == "CIFAKE" and budget == DEFAULT else f"{data.name}, {budget}")
    if data.name != "CIFAKE":
        return Markdown(
            f"> **This run is on the stand-in data, not on CIFAKE.** {data.note} Every figure and table below is made "
            "on small crops of two photographs and says so; the prose describes the committed run on CIFAKE."
        )
    if budget != DEFAULT:
        return Markdown(
            f"> **This run has the budget '{budget}'** ({BUDGETS[budget].cost}); "
            f"the prose describes the committed run, '{DEFAULT}'."
        )
    return Markdown(f"> {data.note} Budget '{budget}'.")


def _number(value: float | str) -> str:
    """Whole above a thousand, else four digits; a text as it is."""
    return value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


FORMATS = {
    "value": _number,
    "mean (%)": "{:.2f}",
    "deviation over seeds": "{:.2f}",
    "against the first": "{:+.2f}",
    "accuracy (%)": "{:.2f}",
    "loss": "{:.4f}",
    "validation_loss": "{:.4f}",
    "validation_accuracy": "{:.2%}",
    "images_per_second": "{:,.0f}",
    "leak-free": "{:.2%}",
    "red": "{:.1f}",
    "green": "{:.1f}",
    "blue": "{:.1f}",
    "deviation": "{:.1f}",
    "high frequencies (dB)": "{:+.1f}",
    "difference": "{:+.2%}",
    "low": "{:+.2%}",
    "high": "{:+.2%}",
    "p": "{:.2g}",
    "p (Holm)": "{:.2g}",
    "seconds": "{:.1f}",
    "recorded": "{:.2%}",
    "recomputed": "{:.2%}",
    "largest difference": "{:.1g}",
    **dict.fromkeys(["seconds (median)", "lowest (%)", "validation", "official test", "leak-free test"], "{:.2f}"),
    **dict.fromkeys(["mean colour", "radial spectrum", "DCT coefficients", "noise residual", "all of these"], "{:.1f}"),
    **dict.fromkeys(["unchanged", "mean", "worst", "worst, kept out", "PGD 1/255", "PGD 2/255"], "{:.2%}"),
}
INTERVAL = re.compile(r" \(([\d.]+) – ([\d.]+)\)")  # gets a line of its own, and stays in one piece by a word joiner
LEFT = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: bold; white-space: nowrap"},
    {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"},
]


def table(frame: pd.DataFrame, caption: str) -> Styler:
    """A captioned table made on this run's data: shares in percent with their intervals, counts with separators."""
    return reference_table(frame, titled(caption))


def reference_table(frame: pd.DataFrame, caption: str) -> Styler:
    """The same for figures that are not made on this run's data: of others, or of record."""
    shown = frame.copy()
    if {"value", "low", "high"} <= set(frame.columns):
        bounds = zip(frame["low"], frame["high"], strict=True)
        interval = [f"{100 * low:.2f} – {100 * high:.2f}" for low, high in bounds]
        shown["value"] = [f"{100 * value:.2f}%" for value in frame["value"]]
        shown = shown.drop(columns=["low", "high"])
        shown.insert(shown.columns.get_loc("value") + 1, "95% interval", interval)
    shown = shown.map(lambda cell: INTERVAL.sub("\n(\\1–\u2060\\2)", cell) if isinstance(cell, str) else cell)
    formats = {column: text for column, text in FORMATS.items() if column in shown.columns}
    style = shown.style.set_caption(caption).format(formats, precision=4, thousands=",", na_rep="–")
    if pd.api.types.is_float_dtype(shown.index):
        style = style.format_index("{:g}")
    return style.set_table_styles(LEFT)
