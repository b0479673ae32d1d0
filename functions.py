"""Names that `report.ipynb` uses, by stage. A worked example, from images to a prediction:

    import functions as fn

    data = fn.load_data()                                      # CIFAKE, split, as uint8 tensors
    recipe = fn.pick_budget("quick").cnn                       # how to train, and for how long
    model, history = fn.train(fn.CNN(), data.train, data.validation, recipe)
    probabilities = fn.predict(model, data.test.pixels)        # P(FAKE) of each test image
    print(fn.evaluate(probabilities, data.test.labels))        # accuracy, AUC, … with 95% intervals
    released = fn.load_model("models/cnn.safetensors")
    prediction = fn.predict_image(released, "image.jpg")       # any image of your own
    print(prediction.label, prediction.probability, prediction.reason)

Whole packages are here too (`fn.figures.roc_curves`, `fn.eda.leaks`); they load on first use.
"""

import importlib
from types import ModuleType

# data
from detector.core.labels import CLASSES
from detector.data.dataset import leak_free_rows, load_data
from detector.data.folders import load_unseen
from detector.data.transforms import augment, to_unit

# models and training
from detector.models.cnn import CNN
from detector.models.native import Native
from detector.models.summary import layer_table, size_table
from detector.models.transfer import Transfer
from detector.models.weights import NATIVE_RELEASED, load_model, released_models
from detector.training.loop import train
from detector.training.recipes import pick_budget

# prediction and evaluation
from detector.inference.decision import predict_image
from detector.inference.predict import predict, predict_features
from detector.metrics.classification import evaluate

# packages, imported on first use
PACKAGES = ("data", "demo", "eda", "evaluation", "figures", "metrics", "report", "training")

__all__ = [  # noqa: PLE0604
    "CLASSES", "leak_free_rows", "load_data", "load_unseen", "augment", "to_unit",
    "CNN", "layer_table", "size_table", "Native", "Transfer", "NATIVE_RELEASED", "load_model", "released_models",
    "train", "pick_budget",
    "predict_image", "predict", "predict_features", "evaluate",
    *PACKAGES,
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    """Import a package when it is first used (PEP 562), so that importing this module stays fast."""
    if name in PACKAGES:
        return importlib.import_module(f"detector.{name}")
    raise AttributeError(f"module 'functions' has no name {name!r}.")
