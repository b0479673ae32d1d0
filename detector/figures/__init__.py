"""Figures: data in, `Figure` out. Nothing is computed, trained or displayed here."""

from detector.figures.data import (
    class_grids,
    colour_distributions,
    duplicate_pairs,
    image_grid,
    labelled_grid,
    mean_images,
    recall_dots,
    shortcut_dots,
    spectra,
    spectra_2d,
    spectrum_heatmap,
)
from detector.figures.evaluation import (
    accuracy_by_object_class,
    confusion_matrices,
    corruption_heatmaps,
    reliability_diagrams,
    risk_coverage_curves,
    roc_curves,
)
from detector.figures.explanation import (
    band_bars,
    band_lines,
    crop_probabilities,
    figure_image,
    map_grid,
    map_over,
    prediction,
    tsne_scatter,
)
from detector.figures.style import new_figure, show_image
from detector.figures.training import architecture, cost_dots, images_curve, learning_curves, variant_dots

__all__ = [
    "accuracy_by_object_class", "architecture", "band_bars", "band_lines", "class_grids", "colour_distributions",
    "confusion_matrices", "corruption_heatmaps", "cost_dots", "crop_probabilities", "duplicate_pairs",
    "figure_image", "image_grid", "images_curve", "labelled_grid", "learning_curves", "map_grid", "map_over",
    "mean_images", "new_figure", "prediction", "recall_dots", "reliability_diagrams", "risk_coverage_curves",
    "roc_curves", "shortcut_dots", "show_image", "spectra", "spectra_2d", "spectrum_heatmap", "tsne_scatter",
    "variant_dots",
]  # fmt: skip
