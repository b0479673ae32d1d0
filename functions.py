"""Everything that `report.ipynb` uses, in the order in which it uses it; each name shows its home.

A worked example, from pictures to a verdict:

    import functions as fn
    from PIL import Image

    data = fn.load_data()                                     # CIFAKE, split, as uint8 tensors
    budget = fn.pick_budget("standard")                       # what to train on, and how
    model, history = fn.train(fn.CNN(), data.train, data.validation, budget.cnn)
    probs = fn.predict(model, data.test.pixels)               # P(FAKE) of each picture
    print(fn.evaluate(probs, data.test.labels))               # accuracy, AUC, ... with intervals
    fn.verdict_picture(model, Image.open("picture.jpg"))      # any picture, judged and drawn
"""

# The question: what is run, on what
from detector.budgets import pick_budget
from detector.presentation import banner, figures_from_literature, reference_table, table

# The data
from detector.cifake import CLASSES
from detector.data import load_data
from detector.audit import some_of_each
from detector.audit_figures import class_grids

# The data: copies
from detector.leakage import alike_pairs, all_pictures, copies_table, find_copies, index_classes, planted_recall
from detector.leakage import compare_leaks, cross_copies, leaks, leaks_by_distance, leaks_table
from detector.audit_figures import copy_pairs, recall_dots
from detector.presentation import near_copies_elsewhere

# The data: what differs between the classes, and how far trivial cues go
from detector.audit import colour_table, mean_pixels, mean_spectra, spectrum_differences, spectrum_table, subject_means
from detector.audit_figures import colour_distributions, mean_pictures, spectra, spectra_2d, spectrum_heatmap
from detector.figures import sample_grid
from detector.probes import cue_table
from detector.audit_figures import cue_dots

# The data: other people's pictures
from detector.unseen import describe_sources, load_unseen

# Preprocessing
from detector.preprocessing import augment, to_unit

# The CNN and its training
from detector.anatomy import layer_table, size_table
from detector.models import CNN
from detector.figures import architecture, histories
from detector.training import train

# What its training takes: longer runs, as data
from detector.measured import over_seeds, race_table, speed_table, training_runs
from detector.training_figures import images_curve, part_dots

# Transfer learning
from detector.models import Transfer
from detector.measured import pareto_front, transfer_table
from detector.training_figures import cost_dots

# Evaluation
from detector.prediction import predict
from detector.evaluation import accuracy_by_subject, confusion, evaluate, roc_points
from detector.data import leak_free_rows
from detector.figures import accuracy_bars, confusions, roc_curves

# Errors
from detector.evaluation import worst_errors
from detector.figures import labelled_grid

# The shipped models, and further figures of them
from detector.weights import shipped_models
from detector.evaluation import check_slices, read_predictions, records_table
from detector.measured import ensemble_table, seed_table, unlikeness_table
from detector.metrics import compare_pairs, reliability, risk_coverage
from detector.evaluation_figures import reliability_diagrams, risk_coverage_curves
from detector.presentation import records_grid, sources_grid

# Changed pictures
from detector.corruptions import CORRUPTIONS, corrupt
from detector.evaluation_figures import corruption_heatmaps
from detector.robustness import check_corrupted, corruption_grid, robustness_table

# Other sources
from detector.measured import left_out_table, outsiders_table, patches_table, resolution_table
from detector.probes import cues_elsewhere

# Explanation
from detector.explanation import MAPS, band_evidence, lay_out, one_view
from detector.explanation_figures import band_lines, embedding_scatter, map_grid
from detector.measured import explanation_table
from detector.prediction import predict_features

# Which model for what
from detector.presentation import overview_table

# The demo
from detector.demo import build_demo, launch_demo, picture_of, verdict_picture

__all__ = [
    # the question
    "banner", "figures_from_literature", "pick_budget", "reference_table", "table",
    # the data
    "CLASSES", "class_grids", "load_data", "some_of_each",
    # the data: copies
    "alike_pairs", "all_pictures", "compare_leaks", "copies_table", "copy_pairs", "cross_copies", "find_copies",
    "index_classes", "leaks", "leaks_by_distance", "leaks_table", "near_copies_elsewhere", "planted_recall",
    "recall_dots",
    # the data: what differs, and how far trivial cues go
    "colour_distributions", "colour_table", "cue_dots", "cue_table", "mean_pictures", "mean_pixels", "mean_spectra",
    "sample_grid", "spectra", "spectra_2d", "spectrum_differences", "spectrum_heatmap", "spectrum_table",
    "subject_means",
    # the data: other people's pictures
    "describe_sources", "load_unseen",
    # preprocessing
    "augment", "to_unit",
    # the CNN and its training
    "CNN", "architecture", "histories", "layer_table", "size_table", "train",
    # what its training takes
    "images_curve", "over_seeds", "part_dots", "race_table", "speed_table", "training_runs",
    # transfer learning
    "Transfer", "cost_dots", "pareto_front", "transfer_table",
    # evaluation
    "accuracy_bars", "accuracy_by_subject", "confusion", "confusions", "evaluate", "leak_free_rows", "predict",
    "roc_curves", "roc_points",
    # errors
    "labelled_grid", "worst_errors",
    # the shipped models, and further figures of them
    "check_slices", "compare_pairs", "ensemble_table", "read_predictions", "records_grid", "records_table",
    "reliability", "reliability_diagrams", "risk_coverage", "risk_coverage_curves", "seed_table", "shipped_models",
    "sources_grid", "unlikeness_table",
    # changed pictures
    "CORRUPTIONS", "check_corrupted", "corrupt", "corruption_grid", "corruption_heatmaps", "robustness_table",
    # other sources
    "cues_elsewhere", "left_out_table", "outsiders_table", "patches_table", "resolution_table",
    # explanation
    "MAPS", "band_evidence", "band_lines", "embedding_scatter", "explanation_table", "lay_out", "map_grid", "one_view",
    "predict_features",
    # which model for what
    "overview_table",
    # the demo
    "build_demo", "launch_demo", "picture_of", "verdict_picture",
]  # fmt: skip
