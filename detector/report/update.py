"""Everything that is written from the stored results: the model card, README's table and figure; and their update."""

from collections.abc import Sequence
from pathlib import Path

from detector.core import files
from detector.core.console import UserError
from detector.data.dataset import load_cifake_only, make_toy_dataset
from detector.data.folders import load_unseen
from detector.evaluation.held_out import evaluate_held_out
from detector.evaluation.run import evaluate_released
from detector.models.weights import NATIVE_RELEASED, RELEASED, released_models
from detector.report.model_card import markdown, model_card
from detector.report.native import held_out_table
from detector.report.studies import TESTS, overview_table, results_grid

MARKS = ("<!-- results: written by `python -m detector evaluate` -->", "<!-- end of results -->")


def update_results(names: Sequence[str] = (), *, smoke: bool = False) -> Path:
    """Score released models, by default all; write results, predictions, the model card and README's table.

    Args:
        names: of the models.
        smoke: score `cnn` on a few toy images and write results and predictions into build/smoke/ only.

    Returns the file of the results. Raises UserError for an unknown name, or where CIFAKE is not available.
    """
    models = released_models([*RELEASED, *NATIVE_RELEASED])
    if smoke:
        folder, data = files.BUILD_DIR / "smoke", make_toy_dataset("").sample(1200)
        evaluate_released({"cnn": models["cnn"]}, data, data.validation, folder)
        return folder / files.RESULTS.name
    if unknown := sorted(set(names) - set(models)):
        raise UserError(f"There is no model {', '.join(unknown)} in {files.MODELS_DIR}. Choose {', '.join(models)}.")
    chosen = {name: models[name] for name in names or models}
    if small := {name: model for name, model in chosen.items() if name in RELEASED}:
        evaluate_released(small, load_cifake_only(), load_unseen())
    for name, model in chosen.items():
        evaluate_held_out(name, model)
    with files.atomic_write(files.MODEL_CARD) as part:
        part.write_text(model_card(), encoding="utf-8")
    write_released_table()
    return files.RESULTS


def released_table() -> str:
    """Return README's tables of the released models, in Markdown."""
    accuracy = results_grid(["accuracy"])["accuracy"].unstack()[list(TESTS.values())]
    unseen = overview_table()[["FPR, unseen photos", "AUC, unseen generators"]]
    table = accuracy.add_prefix("accuracy, ").add_suffix(" test").join(unseen).reindex(list(RELEASED))
    table.insert(0, "", list(RELEASED.values()))
    native = held_out_table().xs("all", level="source").loc[[*NATIVE_RELEASED, "transfer"]]
    native.insert(0, "", [*NATIVE_RELEASED.values(), "for comparison: the image at 32×32 pixels"])
    tables = [markdown(own.rename(lambda name: f"`{name}`")) for own in (native, table)]
    return "\n\n".join(["At native resolution, on eight sources set aside before any training:", tables[0],
                        "On CIFAKE:", tables[1]])  # fmt: skip


def write_released_table(page: Path | None = None) -> None:
    """Put `released_table` between the marks of README. Raises UserError if the page has no marks."""
    write_between_marks(page or files.README, MARKS, released_table())


def write_between_marks(page: Path, marks: tuple[str, str], text: str) -> None:
    """Replace the lines between two marks of a page. Raises UserError if the page has no marks."""
    old = page.read_text(encoding="utf-8")
    if not all(mark in old for mark in marks):
        raise UserError(f"{page} has no place for the results. Put these two lines into it: {' and '.join(marks)}.")
    before, rest = old.split(marks[0])
    after = rest.split(marks[1])[1]
    with files.atomic_write(page) as part:
        part.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", encoding="utf-8")
