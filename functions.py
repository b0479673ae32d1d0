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
from detector.audit import copies_table, mean_pixels, one_of_each, spectrum_table
from detector.figures import mean_pictures, sample_grid, spectra

# Preprocessing
from detector.preprocessing import augment, to_unit

# The CNN and its training
from detector.models import CNN, layer_table, size_table
from detector.figures import architecture, histories
from detector.training import train

# Transfer learning
from detector.models import Transfer

# Evaluation
from detector.prediction import predict
from detector.evaluation import accuracy_by_subject, confusion, evaluate, roc_points
from detector.figures import accuracy_bars, confusions, roc_curves

# Errors
from detector.evaluation import worst_errors
from detector.figures import labelled_grid

# The shipped models
from detector.evaluation import check_slices, records_table
from detector.models import shipped_models

# The demo
from detector.demo import build_demo, launch_demo, picture_of, verdict_picture

__all__ = [
    # the question
    "banner", "figures_from_literature", "pick_budget", "reference_table", "table",
    # the data
    "CLASSES", "copies_table", "load_data", "mean_pictures", "mean_pixels", "one_of_each", "sample_grid", "spectra",
    "spectrum_table",
    # preprocessing
    "augment", "to_unit",
    # the CNN and its training
    "CNN", "architecture", "histories", "layer_table", "size_table", "train",
    # transfer learning
    "Transfer",
    # evaluation
    "accuracy_bars", "accuracy_by_subject", "confusion", "confusions", "evaluate", "predict", "roc_curves",
    "roc_points",
    # errors
    "labelled_grid", "worst_errors",
    # the shipped models
    "check_slices", "records_table", "shipped_models",
    # the demo
    "build_demo", "launch_demo", "picture_of", "verdict_picture",
]  # fmt: skip
