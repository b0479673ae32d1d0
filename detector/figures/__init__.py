"""Figures: data in, `Figure` out. Nothing is computed, trained or displayed here."""

# ruff: noqa: F401 - re-exported

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
    dot_panels,
    headline,
    left_out_dots,
    mistake_dots,
    reliability_diagrams,
    risk_coverage_curves,
    roc_curves,
    share_dots,
    share_heatmaps,
)
from detector.figures.explanation import band_lines, map_grid, tsne_scatter
from detector.figures.training import architecture, cost_dots, images_curve, learning_curves, variant_dots
