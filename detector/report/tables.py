"""Tables of the report: captions and number formats, the banner, figures published elsewhere."""

import re

import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler

from detector.data.dataset import Dataset
from detector.training.recipes import BUDGETS, DEFAULT_BUDGET

# accuracy on CIFAKE's test folder, %; grade 'read': seen in a results file or notebook; 'claim': stated in an abstract,
# a README or a model card
PUBLISHED = [
    ("CNN, 32 px", 92.98, "claim", "Bird and Lotfi 2023, arXiv 2303.14126"),
    ("CNN, three layers, 224 px", 96.0, "claim", "GitHub stefsyrsiri/synthetic-image-detection"),
    ("CNN, 288k parameters, 32 px", 97.62, "read", "GitHub leyixu26/cifake-detection"),
    ("DenseNet-121 with squeeze-excitation, 32 px", 98.56, "claim", "garuda.kemdiktisaintek.go.id 5886889"),
    ("ViT-S/16, ImageNet weights, 224 px", 98.77, "read", "GitHub leyixu26/cifake-detection"),
    ("ViT-B/16, 224 px", 99.30, "claim", "Hugging Face bsgcasa/vit-real-vs-ai-detector"),
]
PUBLISHED_DUPLICATES = [("ciFAIR, by eye", 286, 39, "Barz and Denzler 2020, arXiv 1902.00423")]


def published_results() -> pd.DataFrame:
    """Return test accuracy on CIFAKE as published elsewhere, with the grade of the evidence."""
    return pd.DataFrame(PUBLISHED, columns=["model", "accuracy (%)", "grade", "source"]).set_index("model")


def published_duplicates() -> pd.DataFrame:
    """Return the number of CIFAR-10 test images with a near-duplicate, as published elsewhere."""
    columns = ["list", "duplicate in train", "duplicate in test only", "source"]
    return pd.DataFrame(PUBLISHED_DUPLICATES, columns=columns).set_index("list")


def banner(data: Dataset, budget: str) -> Markdown:
    """Return the note at the top of the report: the data and the budget of this run."""
    if data.name != "CIFAKE":
        return Markdown(
            f"> **This run uses the toy dataset, not CIFAKE.** {data.note} Every figure of this run shows small crops "
            "of two photos. The prose describes the committed run on CIFAKE."
        )
    if budget != DEFAULT_BUDGET:
        return Markdown(
            f"> **This run has the budget '{budget}'** ({BUDGETS[budget].cost}). "
            f"The prose describes the committed run, '{DEFAULT_BUDGET}'."
        )
    return Markdown(f"> {data.note} Budget '{budget}'.")


NAMES = {
    "auc": "AUC",
    "brier": "Brier score",
    "ece": "ECE",
    "f1": "F1",
    "false_positive_rate": "FPR",
    "nll": "NLL",
    "only_first": "only the first correct",
    "only_second": "only the second correct",
    "tpr_at_fpr_1": "recall at FPR 1%",
    "tpr_at_fpr_5": "recall at FPR 5%",
    "precision_at_prevalence_1": "precision, 1% FAKE",
    "precision_at_prevalence_10": "precision, 10% FAKE",
}


def in_words(name: str) -> str:
    """Return the name of a metric or column as people write it."""
    return NAMES.get(name, str(name).replace("_", " "))


def _number(value: float | str) -> str:
    """Return whole numbers from a thousand on, four digits below; text as it is."""
    return value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


FORMATS = {
    "{:.4f}": ["loss", "validation loss"],
    "{:.2f}": ["mean (%)", "seconds (median)", "lowest (%)", "deviation (points)", "as reported (%)", "in truth (%)"],
    "{:+.2f}": ["cost in points", "false confidence in points"],
    "{:.1f}": ["seconds"],
    "{:,.0f}": ["images per second"],
    "{:.2g}": ["p", "p (Holm)"],
    "{:.1g}": ["largest difference"],
    "{:.2%}": ["validation accuracy", "leak-free", "stored", "reproduced", "uncorrupted", "mean", "worst",
              "PGD 1/255", "PGD 2/255"],
    "{:+.2%}": ["difference", "low", "high"],
    "{:.1%}": ["error rate at most", "with certainty", "OOD rate of CIFAKE", "confidence threshold"],
    _number: ["value"],
}  # fmt: skip
COLUMN_FORMATS = {column: form for form, columns in FORMATS.items() for column in columns}
INTERVAL = re.compile(r" \(([\d.]+) – ([\d.]+)\)")
LEFT = [
    {"selector": "caption", "props": "caption-side: top; text-align: left; font-weight: bold; white-space: nowrap"},
    {"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: pre-line"},
]


def table(frame: pd.DataFrame, caption: str) -> Styler:
    """Return a captioned table: names in words, proportions in percent with their intervals, counts with separators.

    Columns value, low and high become a percentage and its 95% interval. An interval inside a text gets a line of
    its own, in one piece (by a word joiner).
    """
    shown = frame.rename(columns=in_words)
    if {"value", "low", "high"} <= set(frame.columns):
        bounds = zip(frame["low"], frame["high"], strict=True)
        interval = [f"{100 * low:.2f} – {100 * high:.2f}" for low, high in bounds]
        shown["value"] = [f"{100 * value:.2f}%" for value in frame["value"]]
        shown = shown.drop(columns=["low", "high"])
        shown.insert(shown.columns.get_loc("value") + 1, "95% interval", interval)
    if shown.index.nlevels == 1:  # one line of headings
        shown = shown.rename_axis(index=None, columns=shown.index.name)
    shown = shown.map(lambda cell: INTERVAL.sub("\n(\\1–\u2060\\2)", cell) if isinstance(cell, str) else cell)
    formats = {column: text for column, text in COLUMN_FORMATS.items() if column in shown.columns}
    style = shown.style.set_caption(caption).format(formats, precision=4, thousands=",", na_rep="–")
    if pd.api.types.is_float_dtype(shown.index):
        style = style.format_index("{:g}")
    return style.set_table_styles(LEFT)
