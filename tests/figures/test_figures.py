"""Every figure of the package, drawn once from small data."""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torchvision.transforms.v2.functional import to_pil_image

from detector import figures
from detector.core.labels import CLASSES
from detector.figures import data, evaluation, explanation, training
from detector.figures.style import describe

RNG = np.random.default_rng(0)
FREQUENCIES = [f"{k / 32:.2f}" for k in range(1, 17)]
BANDS = (0.0625, 0.125, 0.25, 0.5)
DEMO_ONLY = {
    "band_bars",
    "crop_map",
    "crop_prediction",
    "map_over",
    "prediction",
    "unscored",
}  # and in README's example
NO_AXES = {  # images, drawings and projections, which have no scale
    "architecture", "class_grids", "duplicate_pairs", "image_grid", "labelled_grid", "map_grid",
    "map_over", "mean_images", "tsne_scatter",
}  # fmt: skip


def images(*shape: int, side: int = 32) -> torch.Tensor:
    return torch.from_numpy(RNG.integers(0, 256, (*shape, 3, side, side), np.uint8))


def interval_table(index: pd.Index | None = None, rows: int = 1) -> pd.DataFrame:
    value = RNG.uniform(0.6, 0.95, rows if index is None else len(index))
    return pd.DataFrame({"value": value, "low": value - 0.03, "high": value + 0.02, "n": 100}, index)


def by_class(name: str, groups: list[str]) -> pd.DataFrame:
    return interval_table(pd.MultiIndex.from_product([groups, CLASSES], names=[name, "class"]))


def spectrum_rows() -> pd.DataFrame:
    frequency = np.arange(1, 17) / 32
    rows = [pd.DataFrame({"frequency": frequency, "class": name, "median": -40 * frequency}) for name in CLASSES]
    table = pd.concat(rows, ignore_index=True)
    return table.assign(low=table["median"] - 3, high=table["median"] + 3)


def colour_rows() -> pd.DataFrame:
    cells = pd.MultiIndex.from_product([("red", "green", "blue"), CLASSES, range(0, 256, 16)])
    return cells.to_frame(index=False, name=["channel", "class", "level"]).assign(share=1 / 16)


def confusion() -> pd.DataFrame:
    return pd.DataFrame([[90, 10], [5, 95]], pd.Index(CLASSES, name="actual"), pd.Index(CLASSES, name="predicted"))


def history() -> pd.DataFrame:
    epochs = pd.Index(range(1, 6), name="epoch")
    return pd.DataFrame({"loss": 1 / epochs, "validation_loss": 1.2 / epochs, "validation_accuracy": 0.9}, epochs)


def risk() -> pd.DataFrame:
    coverage = np.linspace(0.01, 1, 100)
    return pd.DataFrame({"coverage": coverage, "risk": coverage**4 / 10})


def corruption_table() -> pd.DataFrame:
    index = pd.Index(["blur, σ in pixels: 0.5 to 2", "JPEG, quality: 90 to 30"], name="corruption")
    return pd.DataFrame(RNG.uniform(0.5, 1, (2, 6)), index, range(6))


def band_table() -> pd.DataFrame:
    return pd.DataFrame(RNG.normal(size=(40, 4)), columns=BANDS)


def draw_all() -> dict[str, Figure]:
    """Draw each public figure: name -> Figure."""
    classes = ("airplane", "cat", "horse", "ship")
    layers = pd.DataFrame({"output": ["32 × 32 × 32", "64 × 16 × 16", "128 × 8 × 8", "1"]})
    shortcuts = interval_table(pd.Index(["file size", "mean colour"])).assign(features=[1, 3])
    seeds = pd.DataFrame({"accuracy": RNG.uniform(0.9, 0.95, 6)})
    variants = interval_table(pd.Index(["CNN 32", "Lite0 64 px", "Lite2 64 px"])).assign(MACs=[3e7, 4e7, 9e7])
    reliability = interval_table(rows=5).assign(predicted=np.linspace(0.05, 0.95, 5))
    points = pd.DataFrame({"coverage": 0.9, "risk": 0.06}, ["cnn", "transfer"])
    rates = np.linspace(0, 1, 50)
    two = ("cnn", "transfer")
    front = pd.Series([True, False, True], variants.index)
    attribution = torch.from_numpy(RNG.normal(size=(4, 32, 32)))
    return {
        "class_grids": figures.class_grids({name: images(2, 4) for name in CLASSES}, classes, title="Images by class"),
        "image_grid": figures.image_grid(
            {"stored": images(4), "REAL/flickr": images(3) / 255}, title="Images by source", names=classes
        ),
        "duplicate_pairs": figures.duplicate_pairs(
            {"REAL, exact": images(5, 2), "FAKE, to 0.05": images(3, 2)}, title="Duplicates by class and distance"
        ),
        "labelled_grid": figures.labelled_grid(
            images(3), ["0.9", "0.8", "0.1"], ["REAL", "REAL", "FAKE"], title="Errors", columns=2
        ),
        "recall_dots": figures.recall_dots(by_class("change", ["flipped", "cropped", "JPEG"])),
        "shortcut_dots": figures.shortcut_dots(shortcuts),
        "mean_images": figures.mean_images({name: images().float() for name in CLASSES}),
        "spectra": figures.spectra(spectrum_rows()),
        "colour_distributions": figures.colour_distributions(colour_rows()),
        "spectra_2d": figures.spectra_2d({name: images()[0] / 9 for name in CLASSES}),
        "spectrum_heatmap": figures.spectrum_heatmap(pd.DataFrame(RNG.normal(size=(4, 16)), classes, FREQUENCIES)),
        "learning_curves": figures.learning_curves(dict.fromkeys(two, history())),
        "architecture": figures.architecture(layers, name="the CNN"),
        "variant_dots": figures.variant_dots(seeds.assign(variant=["recipe", "no flips"] * 3)),
        "images_curve": figures.images_curve(seeds.assign(images=[1000, 10_000, 50_000] * 2)),
        "cost_dots": figures.cost_dots(variants, front),
        "confusion_matrices": figures.confusion_matrices(dict.fromkeys(two, confusion())),
        "roc_curves": figures.roc_curves({"cnn": (rates, rates**0.05)}),
        "accuracy_by_object_class": figures.accuracy_by_object_class(
            dict.fromkeys(two, by_class("object_class", list(classes)).reset_index())
        ),
        "reliability_diagrams": figures.reliability_diagrams(dict.fromkeys("abc", reliability)),
        "risk_coverage_curves": figures.risk_coverage_curves(dict.fromkeys(two, risk()), points),
        "corruption_heatmaps": figures.corruption_heatmaps(
            dict.fromkeys("abcd", corruption_table()), title="Accuracy (%) by corruption", span=(50, 100)
        ),
        "dot_panels": figures.dot_panels(
            {"AUC": interval_table(pd.Index(["REAL/a", "FAKE/b"])), "power (dB)": pd.DataFrame({"value": [1, -2]})},
            title="Sources, two values",
            ylabel="source",
        ),
        "left_out_dots": figures.left_out_dots(
            interval_table(pd.Index(["flux", "sdxl", "phones"], name="name"))
            .reset_index()
            .assign(**{"left out": ["generator family"] * 2 + ["photo source"], "recall": 0.6, "FPR": 0.1})
        ),
        "share_dots": figures.share_dots(
            interval_table(rows=4).assign(
                source=["REAL/a", "REAL/a", "FAKE/b", "FAKE/b"], model=["cnn", "transfer"] * 2
            ),
            title="Share predicted FAKE by source",
        ),
        "share_heatmaps": figures.share_heatmaps(
            {name: corruption_table().rename_axis(columns="model") for name in ("AUC", "coverage")},
            title="Results by source",
        ),
        "headline": figures.headline(
            *(interval_table(pd.Index(["theirs", "ours"])).assign(ours=[False, True]) for _ in range(2))
        ),
        "mistake_dots": figures.mistake_dots(seeds.assign(mistake=["none", "second sigmoid"] * 3, reported=0.9)),
        "crop_map": explanation.crop_map(
            to_pil_image(images(side=48)), [(0, 0, 24, 24), (8, 8, 48, 48)], np.array([0.2, 0.9])
        ),
        "map_grid": figures.map_grid(images(4), attribution, list("abcd"), title="Attribution maps"),
        "map_over": explanation.map_over(images(), attribution[0]),
        "band_bars": explanation.band_bars(band_table().iloc[0]),
        "band_lines": figures.band_lines(band_table(), np.arange(40) % 2),
        "tsne_scatter": figures.tsne_scatter(RNG.normal(size=(40, 2)), np.arange(40) % 2, np.arange(40) % 7 == 0),
        "prediction": explanation.prediction(images(side=48), images(), "FAKE", 0.97, "in-distribution and stable"),
        "crop_prediction": explanation.crop_prediction(
            to_pil_image(images(side=48)), [(0, 0, 48, 48)], np.array([0.9]), probability=0.9, title="not confident"
        ),
        "unscored": explanation.unscored(images(side=48), "blank"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return draw_all()


def test_every_figure_is_drawn_and_those_of_the_report_are_re_exported(drawn):
    functions = {
        name: function
        for module in (data, evaluation, explanation, training)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name[0] != "_" and inspect.signature(function).return_annotation is Figure
    }
    assert set(drawn) == set(functions)
    assert {name for name in functions if not hasattr(figures, name)} == DEMO_ONLY


def test_every_function_returns_a_figure_that_renders(drawn):
    for name, figure in drawn.items():
        assert isinstance(figure, Figure), name
        assert min(explanation.figure_image(figure).size) > 100, name


def test_every_scale_has_a_label(drawn):
    """Panels may share the labels of the bottom row and of the first column."""
    for name, figure in drawn.items():
        panels = [axes for axes in figure.axes if axes.axison and axes.get_label() != "<colorbar>"]
        for axes in panels if name not in NO_AXES else []:
            spec = axes.get_subplotspec()
            assert axes.get_xlabel() or not spec.is_last_row(), name
            assert axes.get_ylabel() or not spec.is_first_col() or name == "prediction", name
        for bar in [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]:
            assert bar.get_ylabel(), name


def test_every_figure_has_an_alternative_text(drawn):
    """A notebook gets it with the image: the title, and the labels of the axes."""
    for name, figure in drawn.items():
        _, metadata = figure._repr_mimebundle_()
        text = metadata["image/png"]["alt"]
        assert figure.get_suptitle() in text, name
        assert all(axes.get_xlabel() in text for axes in figure.axes if axes.axison), name
    assert "predicted FAKE (%)" in describe(drawn["share_dots"])
    assert "Series: cnn, transfer." in describe(drawn["share_dots"])


def test_titles_name_variables(drawn):
    for name, figure in drawn.items():
        titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
        assert not [title for title in titles if title.lower().startswith("what")], name
