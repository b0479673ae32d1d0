"""The model card, models/README.md: what ships, how it was made, how good it is, from weights and records alone.

After Mitchell et al. 2019, 'Model cards for model reporting' (arXiv 1810.03993).
"""

import json
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from detector.evaluation import RESULTS, read_records, records_table
from detector.presentation import in_words, sources_grid
from detector.robustness import UNCHANGED, robustness_table
from detector.weights import MODELS_DIR, SHIPPED, digest_of, load_model

CARD = MODELS_DIR / "README.md"
HEAD = """# What ships

Written by `python -m detector evaluate` from the weights and `results.json`; intervals are of 95%.

**For** telling photographs from pictures by Stable Diffusion 1.4 in CIFAKE, at 32×32 pixels, and for research on such
detectors. **Not for** accusing anyone: a verdict is no proof. All but `wild` know ten subjects, one collection of
photographs and one generator; `wild` learnt from other photographs, other pictures by Stable Diffusion and fakes drawn
here as well, so that `REAL/tiny_imagenet` and `FAKE/sd14_other_pipeline` are to it new pictures of sources that it
knows. On other sources all are often wrong, as the tables below say. `unlike` is the share that a model takes for
something else than it knows, `verdict` the share that it judges at all, being neither unlike nor unsure, `right` the
share of these verdicts that are right. Of a training the weights are kept that did best on validation after one of its
passes, which need not be the last.
"""
TESTS = {"test": "official test", "leak_free": "leak-free test"}
METRICS = {
    "accuracy": "accuracy",
    "false_fake_rate": "photographs called FAKE",
    "recall": "fakes found",
    "auc": "AUC",
    "ece": "calibration error",
    "coverage": "verdict",
    "accuracy_answered": "right",
}
SOURCES = {
    "false_fake_rate": "called FAKE",
    "recall": "called FAKE",
    "auc": "AUC",
    "unlike_rate": "unlike",
    "coverage": "verdict",
    "accuracy_answered": "right",
}


def write_model_card(card: Path = CARD) -> None:
    """Put the card in its place."""
    card.write_text(model_card(), encoding="utf-8")


def model_card(path: Path = RESULTS) -> str:
    """The card of all shipped models, in Markdown."""
    parts = [_part(name, words, path) for name, words in SHIPPED.items()]
    return "\n".join([HEAD, *parts])


def _part(name: str, words: str, path: Path) -> str:
    tests = {set_: records_table(set_, path).loc[name] for set_ in TESTS}
    figures = {
        caption: [in_words(metric, tests[set_].loc[metric]) for set_ in TESTS] for metric, caption in METRICS.items()
    }
    on_cifake = pd.DataFrame.from_dict(figures, orient="index", columns=list(TESTS.values()))
    changed = robustness_table([name], path).loc[name]
    shares = [f"{column} {100 * changed[column]:.2f}%" for column in changed.index if column != "which"]
    counts = [int(records_table(set_, path).loc[(name, "accuracy"), "n"]) for set_ in (UNCHANGED, "robustness/pgd/1")]
    return "\n\n".join(
        [
            f"## `{name}.safetensors`: {words}",
            _made(MODELS_DIR / f"{name}.safetensors"),
            _markdown(on_cifake),
            f"Accuracy on changed pictures, {counts[0]:,} of each kind and severity, {counts[1]:,} of the adversary's: "
            f"{', '.join(shares)}; the worst is {changed['which']}.",
            _markdown(sources_of(name, path)) + "\n",
        ]
    )


def _made(weights: Path) -> str:
    """How the weights were made, as they say themselves."""
    with safe_open(weights, "pt") as file:
        facts = file.metadata()
    count = sum(p.numel() for p in load_model(weights).parameters())
    recipe = ", ".join(f"{key} {value}" for key, value in json.loads(facts["recipe"]).items() if value is not None)
    return (
        f"{facts['architecture']} {facts['config']}, {count:,} parameters. Trained on {facts['data']}: {recipe}. "
        f"{facts['versions']}. SHA-256 `{digest_of(weights)}`…"
    )


def limits_of(name: str, path: Path = RESULTS) -> str:
    """What a shipped model does on sources that chose nothing, in Markdown; empty where that is not on record."""
    if not any(row["model"] == name and row["set"].startswith("unseen/") for row in read_records(path)):
        return ""
    return f"**How often, for `{name}`,** with 95% intervals:\n\n{_markdown(sources_of(name, path))}"


def sources_of(name: str, path: Path = RESULTS) -> pd.DataFrame:
    """A row an unseen source, a column a metric, as text."""
    columns: dict[str, pd.Series] = {}
    for metric, caption in SOURCES.items():
        found = sources_grid(metric, path)[name]
        columns[caption] = found.combine_first(columns[caption]) if caption in columns else found
    return pd.DataFrame(columns).fillna("–").sort_index(key=lambda names: names.str.replace("REAL", "A"))


def _markdown(table: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    lines = [["", *table.columns], ["---"] * (len(table.columns) + 1)]
    lines += [[index, *row] for index, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
