"""Compare pretrained networks and CNNs that are trained for the same time.

Command: `python -m benchmarks.transfer [--seconds S] [NAME...]`. Cost: about a minute for each of 16 variants.
Question: which network has the best validation accuracy after S seconds of training (30 unless you set it), and what
does one image cost in multiply-accumulates (MACs)? A variant sees as many images as the device processes in that time;
evaluation is not counted.
"""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from benchmarks.study import median_seconds, open_study, single, study_parser, timed
from detector.core.console import run_command
from detector.core.device import device_name, pick_device
from detector.data.dataset import Dataset
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import predict, predict_features
from detector.metrics.intervals import metric_table, proportion
from detector.models.base import Detector
from detector.models.cnn import CNN
from detector.models.summary import layer_table
from detector.models.transfer import Transfer
from detector.training.loop import train
from detector.training.recipes import FAST, FINE_TUNING, Recipe

FINE = replace(FINE_TUNING, auxiliary_weight=FAST.auxiliary_weight, layer_decay=0.8)
FINE_ON_GPU = replace(FINE, batch_size=256, learning_rate=2e-3)
FROZEN_BLOCKS = 6  # of nine: two stages and the last convolution are trained
REGULARISATION = 0.01  # scikit-learn's C with the lowest validation loss among 0.001 to 1, on 16,000 images
SMOKE_VARIANTS = ("Lite0 64 px, head trained", "CNN 64-128-256, object classes first")
Fitted = tuple[Detector, dict[str, float]]  # trained network; images seen, seconds, validation accuracy and loss


@dataclass(frozen=True)
class Variant:
    """A network, its recipe, and a function of both, data and seconds that trains for so many seconds."""

    network: Callable[[], Detector]
    recipe: Recipe
    fit: Callable[[Detector, Recipe, Dataset, float], Fitted]


def variants(fine: Recipe, *, pretrained: bool = True) -> dict[str, Variant]:
    """Return all variants by name; those that fine-tune use the recipe `fine`."""

    def lite(number: int, size: int, fit: Callable = fine_tune, *, batch_norm: bool = False, **changes) -> Variant:
        arguments = {"size": size, "train_batch_norm": batch_norm, "pretrained": pretrained}
        network = partial(Transfer, backbone=f"efficientnet_lite{number}", **arguments)
        return Variant(network, replace(fine, **changes), fit)

    wide = partial(CNN, widths=(64, 128, 256))
    return {
        "Lite0 64 px, head trained": lite(0, 64, probe),
        "Lite0 64 px, last stages trained": lite(0, 64, frozen_blocks=FROZEN_BLOCKS),
        "Lite0 64 px, one learning rate": lite(0, 64, layer_decay=1.0),
        "Lite0 64 px, batch norm trained": lite(0, 64, batch_norm=True),
        **{f"Lite0 {size} px": lite(0, size) for size in (32, 64, 96, 128, 224)},
        **{f"Lite2 {size} px": lite(2, size) for size in (32, 64, 96, 128)},
        "CNN 32-64-128": Variant(CNN, FAST, fine_tune),
        "CNN 64-128-256": Variant(wide, FAST, fine_tune),
        "CNN 64-128-256, object classes first": Variant(wide, FAST, classes_first),
    }


def fine_tune(network: Detector, recipe: Recipe, data: Dataset, seconds: float) -> Fitted:
    """Train all blocks that the recipe does not freeze, with one learning-rate cycle; keep the best weights."""
    recipe = fill(recipe, round(images_per_second(network, recipe, data, seconds) * seconds), len(data.train))
    trained, history = train(network, data.train, data.validation, recipe, name="transfer")
    images = recipe.images // recipe.batch_size * recipe.batch_size  # of one epoch
    best = history.loc[history["validation_accuracy"][::-1].idxmax()]  # the last of equal ones, as in `train`
    return trained, {
        "images": images * len(history),
        "seconds": float((images / history["images_per_second"]).sum()),
        "accuracy": best["validation_accuracy"],
        "loss": best["validation_loss"],
    }


def probe(network: Detector, recipe: Recipe, data: Dataset, seconds: float) -> Fitted:
    """Fit a linear probe on the frozen backbone. Half of the time is for features; the regression is not limited."""
    on_device = network.to(pick_device(), memory_format=torch.channels_last)
    features_of = partial(predict_features, on_device, normalise=False)
    speed = recipe.batch_size / median_seconds(lambda: features_of(data.train.pixels[: recipe.batch_size]), 1)
    count = max(recipe.batch_size, int(speed * seconds / 2))
    images = data.train[np.random.default_rng(recipe.seed).permutation(len(data.train))[:count]]
    features, feature_seconds = timed(features_of, images.pixels)
    fitted, fit_seconds = timed(linear_probe, on_device, features, images.labels)
    probabilities, labels = predict(fitted, data.validation.pixels).double(), data.validation.labels
    return fitted, {
        "images": len(images),
        "seconds": feature_seconds + fit_seconds,
        "accuracy": float(((probabilities >= 0.5) == labels).double().mean()),
        "loss": float(F.binary_cross_entropy(probabilities, labels.double())),
    }


def linear_probe(model: Detector, features: torch.Tensor, labels: torch.Tensor) -> Detector:
    """Return a copy of the model whose head is a logistic regression of labels (N,) on features (N, F).

    The regression standardises the features; its head includes this scaling.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale, regression = StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000)
    regression.fit(scale.fit_transform(features.numpy()), labels.numpy())
    weight = regression.coef_ / scale.scale_  # (1, F)
    bias = regression.intercept_ - weight @ scale.mean_
    fitted = copy.deepcopy(model)
    with torch.no_grad():
        fitted.head.weight.copy_(torch.as_tensor(weight) * model.temperature.cpu())
        fitted.head.bias.copy_(torch.as_tensor(bias) * model.temperature.cpu())
    return fitted.eval()


def classes_first(network: Detector, recipe: Recipe, data: Dataset, seconds: float) -> Fitted:
    """Train on CIFAR-10's ten classes for half of the time, then on REAL and FAKE with a fresh head.

    In the first half every label is REAL: the auxiliary target is then the object class alone, and the main target has
    no information.
    """
    train_set, validation = (
        replace(images, labels=torch.zeros_like(images.labels)) for images in (data.train, data.validation)
    )
    unlabelled = replace(data, train=train_set, validation=validation)
    trained, first = fine_tune(network, recipe, unlabelled, seconds / 2)
    trained.head.load_state_dict(network.head.state_dict())
    trained, second = fine_tune(trained, recipe, data, seconds / 2)
    return trained, second | {key: first[key] + second[key] for key in ("images", "seconds")}


def images_per_second(network: Detector, recipe: Recipe, data: Dataset, seconds: float) -> float:
    """Measure the training speed, with four times the steps until they take a fiftieth of the seconds.

    Each measurement has two epochs: the first warms up, the second counts.
    """
    steps, twice = 4, replace(recipe, epochs=2, images=None)
    while True:
        few = data.train[: steps * recipe.batch_size]
        speed = train(network, few, data.validation[:100], twice, name="speed")[1]["images_per_second"].iloc[-1]
        if len(few) > speed * seconds / 50 or len(few) == len(data.train):
            return float(speed)
        steps *= 4


def fill(recipe: Recipe, seen: int, available: int) -> Recipe:
    """Return the recipe for `seen` images in total: a part of those available, or equally large epochs."""
    seen = max(seen, 8 * recipe.batch_size)  # a learning-rate cycle needs some steps
    epochs = ceil(seen / available)
    return replace(recipe, epochs=epochs, images=seen // epochs)


def measure(variant: Variant, data: Dataset, seconds: float) -> pd.DataFrame:
    """Train a variant and return its metric table."""
    torch.manual_seed(variant.recipe.seed)
    network, n = variant.network(), len(data.validation)
    metrics = {"parameters": sum(p.numel() for p in network.parameters()), "MACs": layer_table(network)["MACs"].sum()}
    metrics |= variant.fit(network, variant.recipe, data, seconds)[1]
    metrics["images_per_second"] = metrics["images"] / metrics["seconds"]
    accuracy = proportion(round(metrics["accuracy"] * n), n)
    return metric_table({name: single(value) for name, value in metrics.items()} | {"accuracy": accuracy})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the named variants, or all, that have no rows for this device and time; then print the table."""
    parser = study_parser("transfer", __doc__)
    names = list(variants(FINE))
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=30.0, help="training time of each variant")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names):
        parser.error(f"no variant is named {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    study = open_study("transfer", options)
    data, seconds = study.load_data(), 0.1 if study.smoke else options.seconds
    chosen = options.names or (SMOKE_VARIANTS if study.smoke else names)
    fine = FINE_ON_GPU if pick_device().type == "cuda" else FINE
    for name, variant in variants(fine, pretrained=not study.smoke).items():
        key = {"experiment": "equal time", "model": name, "slice": slice_of(budget=f"{seconds:g} s")}
        key |= {"seed": variant.recipe.seed, "device": device_name()}
        if name in chosen and not study.has(**key):
            metrics = measure(replace(variant, recipe=study.adapt(variant.recipe)), data, seconds)
            study.add(result_rows(metrics, set="validation", **key))
    print(study.results().pivot(index=["model", "device", "slice"], columns="metric", values="value").to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
