"""The model card, `models/README.md`, and README's table: written from the weights and the stored results alone.

After Mitchell et al. 2019, 'Model cards for model reporting' (arXiv 1810.03993).
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES
from detector.data.dataset import load_cifake_only, make_toy_dataset
from detector.data.folders import load_unseen
from detector.evaluation.results import pivot, read_results, value_text, with_slice_columns
from detector.evaluation.run import evaluate_released
from detector.models.weights import DEFAULT_MODEL, RELEASED, load_model, read_metadata, released_models
from detector.report.example import write_example
from detector.report.studies import TESTS, robustness_table

MARKS = ("<!-- results: written by `python -m detector evaluate` -->", "<!-- end of results -->")
METRICS = {
    "accuracy": "accuracy",
    "false_positive_rate": "false-positive rate (FPR)",
    "recall": "recall",
    "auc": "AUC",
    "ece": "calibration error",
    "coverage": "coverage",
    "selective_accuracy": "selective accuracy",
}
SOURCE_METRICS = {
    "false_positive_rate": "FPR",
    "recall": "recall",
    "auc": "AUC",
    "ood_rate": "OOD rate",
    "coverage": "coverage",
    "selective_accuracy": "selective accuracy",
}
HEAD = """# Model card

Written by `python -m detector evaluate` from the weight files and `results.csv`. Intervals are 95%.

**Intended use.** Research on detectors that tell photos from generated images. The models classify images of 32×32
pixels: larger images are resized to 32 pixels, and `multi-source` also scores nine crops of them at 64 pixels.

**Not intended.** Evidence about a person or a work: a prediction is not proof.

**Training data.** `cnn` and `transfer` are trained on CIFAKE alone: photos and Stable Diffusion 1.4 images of ten
classes. `multi-source` was also trained on photos of Tiny ImageNet, on Stable Diffusion images of ImageNet classes and
on fakes by nine small generators. For `multi-source`, the unseen sources `REAL/tiny_imagenet` and
`FAKE/sd14_other_pipeline` are therefore further images of training sources.

**Metrics.** FAKE is the positive class. AUC on a generator compares it with CIFAKE's test photos. A model abstains
('not sure') where it is not confident, where the image is out of distribution (OOD) and where small changes of the
image change the prediction. Coverage is the share of images with a REAL or FAKE prediction; selective accuracy is the
accuracy on them. The leak-free test omits test images that have a duplicate in the training data.

**Limitations.** The results hold for unmodified CIFAKE images. On other photos and other generators the models are
often wrong; the table of each model shows how often. All training images are 32×32 pixels of few classes.
"""


def update_results(names: Sequence[str] = (), *, smoke: bool = False) -> Path:
    """Score released models, by default all; write results, predictions, the model card, README's table and figure.

    Args:
        names: of the models.
        smoke: score `cnn` on a few toy images and write results and predictions into build/smoke/ only.

    Returns the file of the results. Raises UserError for an unknown name, or where CIFAKE is not available.
    """
    models = released_models()
    if smoke:
        folder, data = files.BUILD_DIR / "smoke", make_toy_dataset("").sample(1200)
        evaluate_released({"cnn": models["cnn"]}, data, data.validation, folder)
        return folder / files.RESULTS.name
    if unknown := sorted(set(names) - set(models)):
        raise UserError(f"There is no model {', '.join(unknown)} in {files.MODELS_DIR}. Choose {', '.join(models)}.")
    evaluate_released({name: models[name] for name in names or models}, load_cifake_only(), load_unseen())
    with files.atomic_write(files.MODEL_CARD) as part:
        part.write_text(model_card(), encoding="utf-8")
    write_released_table()
    write_example()
    return files.RESULTS


def model_card() -> str:
    """Return the card of all released models, in Markdown."""
    return "\n".join([HEAD, *(_model_section(name, description) for name, description in RELEASED.items())])


def _model_section(name: str, description: str) -> str:
    results, robust = read_results().query("model == @name"), robustness_table().loc[name]
    rows = results.query("set in @TESTS and slice == '' and metric in @METRICS")
    tests = pivot(rows, "metric", "set", "text").loc[list(METRICS), list(TESTS)]
    tests = tests.rename(index=METRICS, columns={set_: f"{test} test" for set_, test in TESTS.items()})
    n = results.query("set == 'test' and metric == 'accuracy'").set_index("slice")["n"]
    shares = [f"{column} {100 * robust[column]:.2f}%" for column in robust.index if column != "worst corruption"]
    return "\n\n".join(
        [
            f"## `{name}`: {description}",
            _provenance(files.MODELS_DIR / f"{name}.safetensors"),
            _markdown(tests),
            f"Accuracy under corruptions ({n['every=10']:,} test images of each type and severity; "
            f"{n['every=40;pgd=1']:,} under the PGD attack): {', '.join(shares)}. "
            f"The worst corruption is: {robust['worst corruption']}.",
            _markdown(source_table(name)) + "\n",
        ]
    )


def _provenance(weights: Path) -> str:
    """Return how the weights were trained, from their own metadata."""
    facts = read_metadata(weights)
    count = sum(p.numel() for p in load_model(weights).parameters())
    recipe = ", ".join(f"{key} {value}" for key, value in facts["recipe"].items() if value is not None)
    return (
        f"{facts['architecture']} {facts['config']}, {count:,} parameters. Trained on {facts['data']}. "
        f"Recipe: {recipe}. {facts['versions']}. Reproducible: {facts['reproducible']}. "
        f"SHA-256 `{files.sha256_prefix(weights)}`…"
    )


def source_table(name: str) -> pd.DataFrame:
    """Return a released model's metrics on unseen sources, as text: a row a source, a column a metric."""
    rows = read_results().query("model == @name and set == 'unseen' and slice != '' and metric in @SOURCE_METRICS")
    if not len(rows):
        return rows[:0]
    grid = pivot(rows, "source", "metric", "text")
    return grid.reindex(columns=list(SOURCE_METRICS)).rename(columns=SOURCE_METRICS).fillna("–")


def source_limits(name: str) -> str:
    """Return `source_table` in Markdown, with a heading; empty for a model without results on unseen sources."""
    table = source_table(name)
    return f"**`{name}` on unseen sources,** with 95% intervals:\n\n{_markdown(table)}" if len(table) else ""


def released_table() -> str:
    """Return README's table of the released models, in Markdown."""
    results = read_results()
    whole = results.query("slice == ''").set_index(["model", "set", "metric"])
    unseen = with_slice_columns(results.query("set == 'unseen' and slice != ''"))
    rows = {}
    for name, description in RELEASED.items():
        texts = [value_text(whole.loc[(name, set_, "accuracy")]) for set_ in TESTS]
        own = unseen[unseen["model"] == name]
        photos, fakes = (own[own["source"].str.startswith(class_)] for class_ in CLASSES)
        fpr = photos.loc[photos["metric"] == "false_positive_rate", "value"].mean()
        auc = fakes.loc[fakes["metric"] == "auc", "value"].mean()
        default = " (default)" if name == DEFAULT_MODEL else ""
        rows[f"`{name}`{default}"] = [description, *texts, f"{100 * fpr:.1f}%", f"{auc:.3f}"]
    columns = [
        "",
        *(f"accuracy, {test} test" for test in TESTS.values()),
        "FPR, unseen photos",
        "AUC, unseen generators",
    ]
    return _markdown(pd.DataFrame.from_dict(rows, orient="index", columns=columns))


def write_released_table(page: Path | None = None) -> None:
    """Put `released_table` between the marks of README. Raises UserError if the page has no marks."""
    page = page or files.README
    text = page.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        raise UserError(f"{page} has no place for the results. Put these two lines into it: {' and '.join(MARKS)}.")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with files.atomic_write(page) as part:
        part.write_text(f"{before}{MARKS[0]}\n{released_table()}\n{MARKS[1]}{after}", encoding="utf-8")


def _markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    lines = [["", *table.columns], ["---"] * (len(table.columns) + 1)]
    lines += [[index, *row] for index, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
