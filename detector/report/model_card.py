"""The model card, `models/README.md`, from the weight files and the stored results alone.

After Mitchell et al. 2019, 'Model cards for model reporting' (arXiv 1810.03993).
"""

from pathlib import Path

import pandas as pd

from detector.core import files
from detector.evaluation.results import pivot, read_results
from detector.models.weights import NATIVE_RELEASED, RELEASED, load_model, read_metadata
from detector.report.native import MODEL, held_out_table, left_out_table
from detector.report.studies import TESTS, all_models, robustness_table

METRICS = ["accuracy", "false_positive_rate", "recall", "auc", "ece", "coverage", "selective_accuracy"]
SOURCE_METRICS = ["false_positive_rate", "recall", "auc", "ood_rate", "coverage", "selective_accuracy"]
LABELS = {
    "false_positive_rate": "FPR",
    "auc": "AUC",
    "ece": "calibration error",
    "ood_rate": "OOD rate",
    "selective_accuracy": "selective accuracy",
}
HEAD = """# Model card

This page follows Mitchell et al. 2019 (arXiv 1810.03993). `python -m detector evaluate` writes it from the weight
files and `results.csv`. Intervals are 95%.

## Model details

Four detectors that separate photos from generated images, by the authors in `CITATION.cff`. The version is that of
`CHANGELOG.md`, the licence of the code is in `LICENSE`. Report faults as issues of the repository.

## Intended use

Research and education on detectors of generated images. `native` and `native-small` score images with a short side of
at least 128 pixels; `cnn` and `transfer` classify images of 32×32 pixels.

**Out of scope.** Evidence about a person, a work or its honesty: a prediction is not proof. Moderation without human
review. Images between photo and generated image, such as inpainted photos, on which no model was trained.

## Factors

Results depend on the generator, on the photo source (camera, editing, content), on the image's size and style, and on
what a site did to the file. The tables below, section 8 and appendix E of the report show them. Results by the age, sex
or skin colour of the people shown were not measured: the data has no such labels.

## Metrics

FAKE is the positive class. The false-positive rate (FPR) is the share of photos called FAKE, recall the share of
generated images called FAKE. Both compare P(FAKE) of every image with the model's limit, also where the model
abstains. AUC on a generator compares it with CIFAKE's test photos, or at native resolution with the photos left out or
set aside. A model abstains ('not sure') if it is not confident, if the image is out of distribution (OOD), or if a
small change of the image changes the prediction. Coverage is the share of images without abstention; selective
accuracy is the accuracy on them. For `native` and `native-small` the tables leave out the check of stability.

## Evaluation data

`cnn` and `transfer`: CIFAKE's test folder, and the images in `data/unseen/`. The leak-free test omits test images
with a duplicate in the train folder, and all but one of each group of duplicates within the test. `native` and
`native-small`: sources left out of training in turn, and eight sources that were set aside before the first training.
`data/README.md` describes all of them.

## Training data

`cnn` and `transfer` are trained on CIFAKE alone: photos and Stable Diffusion 1.4 images of ten object classes.
`native` and `native-small` are trained on crops from public repositories, many of which state no licence, and on
images of installable packages (`data/README.md`). The weights contain none of these images.

## Ethical considerations

A false positive can discredit a person's photo, and a false negative can lend weight to a forgery. The limits of
`native` are set to call few photos FAKE, at the cost of recall. People are recognisable in the training images, and
nothing that we read says that they consented.

## Caveats and recommendations

The results of `cnn` and `transfer` hold for unmodified CIFAKE images. `native` misclassifies some professional photos
with strong editing as generated. It misses images by generators unlike those of its training, and faces by older
GANs, on which it is not trained. Test a model on your own sources before you rely on it, and report its abstentions.

## Quantitative analyses
"""
NATIVE = """Each row leaves a generator family or a photo source out of training and calibration."""
HELD_OUT = """The frozen weights scored the eight sources set aside once. An earlier candidate called most portraits of
`portraits_web` FAKE, which is one reason why portraits were added to the training: the test is not blind to them."""


def model_card() -> str:
    """Return the card of all released models, in Markdown."""
    results = all_models()
    robust, by_model = robustness_table(results), dict(list(results.groupby("model")))
    sections = [_model_section(name, by_model[name], robust.loc[name]) for name in RELEASED]
    held_out = held_out_table()
    return "\n".join([HEAD, *(_native_section(name, held_out.loc[name]) for name in NATIVE_RELEASED), *sections])


def _native_section(name: str, held_out: pd.DataFrame) -> str:
    parts = [f"### `{name}`: {NATIVE_RELEASED[name]}", _provenance(files.model_file(name))]
    if name == MODEL:
        parts += [NATIVE, markdown(left_out_table())]
    return "\n\n".join([*parts, HELD_OUT, markdown(held_out)]) + "\n"


def _model_section(name: str, results: pd.DataFrame, robust: pd.Series) -> str:
    rows = results.query("set in @TESTS and slice == '' and metric in @METRICS")
    tests = pivot(rows, "metric", "set", "text").loc[METRICS, list(TESTS)]
    tests = tests.rename(index=LABELS | {"false_positive_rate": "false-positive rate (FPR)"})
    tests.columns = [f"{test} test" for test in TESTS.values()]
    n = results.query("set == 'test' and metric == 'accuracy'").set_index("slice")["n"]
    shares = [f"{column} {100 * robust[column]:.2f}%" for column in robust.index if column != "worst corruption"]
    return "\n\n".join(
        [
            f"### `{name}`: {RELEASED[name]}",
            _provenance(files.model_file(name)),
            markdown(tests),
            f"Accuracy under corruptions ({n['every=10']:,} test images of each type and severity; "
            f"{n['every=40;pgd=1']:,} under the PGD attack): {', '.join(shares)}. "
            f"Worst corruption: {robust['worst corruption']}.",
            markdown(source_table(results)) + "\n",
        ]
    )


def _provenance(weights: Path) -> str:
    """Return how the weights were trained, from their own metadata, as a table."""
    facts = read_metadata(weights)
    count = sum(p.numel() for p in load_model(weights).parameters())
    described = {
        "network": ", ".join([facts["architecture"], *(f"{key} {value}" for key, value in facts["config"].items())]),
        "parameters in the file": f"{count:,}",
        "trained on": facts["data"],
        "recipe": ", ".join(f"{key} {value}" for key, value in facts["recipe"].items() if value is not None),
        "file written with": facts["versions"],
        "reproducible": facts["reproducible"],
        "SHA-256": f"`{files.sha256_prefix(weights)}`…",
    }
    return markdown(pd.DataFrame({"": described}))


def source_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return one model's results on unseen sources, as text: a row a source, a column a metric."""
    rows = results.query("set == 'unseen' and slice != '' and metric in @SOURCE_METRICS")
    if not len(rows):
        return rows[:0]
    return pivot(rows, "source", "metric", "text").reindex(columns=SOURCE_METRICS).rename(columns=LABELS).fillna("–")


def source_limits(name: str) -> str:
    """Return `source_table` in Markdown, with a heading; empty for a model without results on unseen sources."""
    table = source_table(read_results().query("model == @name"))
    return f"**`{name}` on unseen sources,** with 95% intervals:\n\n{markdown(table)}" if len(table) else ""


def markdown(table: pd.DataFrame) -> str:
    """Return a table of texts in Markdown."""
    lines = [["", *table.columns], ["---"] * (len(table.columns) + 1)]
    lines += [[index, *row] for index, row in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
