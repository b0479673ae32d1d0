"""What ImageNet buys at 32 pixels, and at what price: `python -m benchmarks.transfers [--seconds S] [NAME...]`.

Each variant learns for the same S seconds, as many pictures as the device at hand manages in them; scoring is not
counted. A row a variant in transfers.csv as soon as it is done: its size, multiply-accumulates (MACs) a picture, what
it saw, and how it does on validation, with Wilson's 95% interval. Variants that are named are run, in place of what
stood there for this device and budget; without names all that are missing.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from detector.anatomy import layer_table
from detector.budgets import FASTEST, FINE_TUNING
from detector.data import Images, load_cifake_only
from detector.devices import pick_device
from detector.evaluation import wilson
from detector.heads import frozen_features, with_linear_head
from detector.models import CNN, Detector, Transfer
from detector.prediction import predict, predict_raw_features
from detector.progress import tell_errors
from detector.training import Recipe, train

TABLE = Path(__file__).with_name("transfers.csv")
FINE = replace(FINE_TUNING, subjects=FASTEST.subjects, block_rate=0.8)
FINE_ON_GPU = replace(FINE, batch_size=256, learning_rate=2e-3)
LAST = 6  # of nine blocks are frozen where the last ones learn: two stages and the last convolution remain


@dataclass(frozen=True)
class Data:
    """What a variant learns from, and what it is scored on."""

    train: Images
    validation: Images


@dataclass(frozen=True)
class Variant:
    """A network with its first weights, how it is trained, and the way that it learns within some seconds.

    `learn` takes network, recipe, data and seconds, and gives the images seen, the seconds that it took,
    validation_accuracy and validation_loss.
    """

    network: Callable[[], Detector]
    recipe: Recipe
    learn: Callable[[Detector, Recipe, Data, float], dict[str, float]]


def variants(fine: Recipe) -> dict[str, Variant]:
    """All variants by name, those that fine-tune by the recipe `fine`."""

    def lite(number: int, size: int, learn: Callable = by_the_loop, *, statistics: bool = False, **changes) -> Variant:
        arguments = {"backbone": f"efficientnet_lite{number}", "size": size, "learn_statistics": statistics}
        return Variant(lambda: Transfer(**arguments, pretrained=True), replace(fine, **changes), learn)

    return {
        "lite0-64-head": lite(0, 64, by_regression),
        "lite0-64-last": lite(0, 64, frozen_blocks=LAST),
        "lite0-64-one-rate": lite(0, 64, block_rate=1.0),
        "lite0-64-statistics": lite(0, 64, statistics=True),
        **{f"lite0-{size}": lite(0, size) for size in (32, 64, 96, 128, 224)},
        **{f"lite2-{size}": lite(2, size) for size in (32, 64, 96, 128)},
        "cnn-32-64-128": Variant(CNN, FASTEST, by_the_loop),
        "cnn-64-128-256": Variant(wide, FASTEST, by_the_loop),
        "cnn-64-128-256-subjects-first": Variant(wide, FASTEST, subjects_first),
    }


def wide() -> CNN:
    """The wider of our own networks, judging the picture alone, as all do here."""
    return CNN(widths=(64, 128, 256))


def by_the_loop(network: Detector, recipe: Recipe, data: Data, seconds: float) -> dict[str, float]:
    """Trained by the one loop, one cycle over the whole."""
    return _train(network, recipe, data, seconds)[1]


def by_regression(network: Detector, recipe: Recipe, data: Data, seconds: float) -> dict[str, float]:
    """A frozen backbone with a linear head: half of the time for features, and then as long as the regression takes."""
    few = data.train.pixels[: recipe.batch_size]
    on_device = network.to(pick_device())
    speeds = []
    for _ in range(2):  # the first warms up
        started = time.perf_counter()
        predict_raw_features(on_device, few)
        speeds.append(len(few) / (time.perf_counter() - started))
    rows = np.random.default_rng(recipe.seed).permutation(len(data.train))[: int(speeds[-1] * seconds / 2)]
    images = data.train[rows]
    features, took = frozen_features(network.cpu(), images.pixels)
    started = time.perf_counter()
    fitted = with_linear_head(network, features, images.labels)
    took += time.perf_counter() - started
    probs, labels = predict(fitted.to(pick_device()), data.validation.pixels).double(), data.validation.labels
    right, loss = ((probs >= 0.5) == labels).double().mean(), F.binary_cross_entropy(probs, labels.double())
    return {
        "images": len(images),
        "seconds": took,
        "validation_accuracy": float(right),
        "validation_loss": float(loss),
    }


def subjects_first(network: Detector, recipe: Recipe, data: Data, seconds: float) -> dict[str, float]:
    """Half of the time for telling CIFAR-10's ten subjects apart, half for what is asked.

    In the first half all is called REAL, so that the second target is the subject alone and the first says nothing.
    """
    nothing = [replace(images, labels=torch.zeros_like(images.labels)) for images in (data.train, data.validation)]
    taught, first = _train(network, recipe, Data(*nothing), seconds / 2)
    taught.head.load_state_dict(network.head.state_dict())
    _, second = _train(taught, recipe, data, seconds / 2)
    return second | {key: first[key] + second[key] for key in ("images", "seconds")}


def _train(network: Detector, recipe: Recipe, data: Data, seconds: float) -> tuple[Detector, dict[str, float]]:
    """What the loop makes of a network in so many seconds, and the figures of its best weights."""
    speed = images_per_second(network, recipe, data, seconds)
    recipe = fill(recipe, round(speed * seconds), len(data.train))
    trained, history = train(network, data.train, data.validation, recipe, name="transfers")
    images = recipe.images // recipe.batch_size * recipe.batch_size  # an epoch
    best = history.iloc[::-1].sort_values("validation_accuracy", ascending=False, kind="stable").iloc[0]
    figures = best[["validation_accuracy", "validation_loss"]].to_dict()
    seen = {"images": images * len(history), "seconds": float((images / history["images_per_second"]).sum())}
    return trained, seen | figures


def images_per_second(network: Detector, recipe: Recipe, data: Data, seconds: float) -> float:
    """How fast the loop is with this network, of ever more steps until they take a fiftieth of the seconds.

    Of each try the first epoch warms up and the second one counts.
    """
    steps, speed = 4, 0.0
    twice = replace(recipe, epochs=2, images=None)
    while True:
        few = data.train[: steps * recipe.batch_size]
        speed = train(network, few, data.validation[:100], twice, name="measuring")[1]["images_per_second"].iloc[-1]
        if len(few) > speed * seconds / 50 or len(few) == len(data.train):
            return float(speed)
        steps *= 4


def fill(recipe: Recipe, seen: int, available: int) -> Recipe:
    """The recipe for `seen` pictures in all: fewer than there are, or as many epochs as it takes, equally large."""
    seen = max(seen, 8 * recipe.batch_size)  # a cycle has no room in less
    epochs = ceil(seen / available)
    return replace(recipe, epochs=epochs, images=seen // epochs)


def device_name() -> str:
    """What it runs on, for the table."""
    if pick_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{pick_device().type}, {torch.get_num_threads()} threads"


def run(name: str, data: Data, seconds: float) -> dict:
    """The row of one variant."""
    variant = variants(FINE_ON_GPU if pick_device().type == "cuda" else FINE)[name]
    torch.manual_seed(variant.recipe.seed)
    network = variant.network()
    parameters = sum(p.numel() for p in network.parameters())
    size = {"parameters": parameters, "MACs": int(layer_table(network)["MACs"].sum())}
    figures = variant.learn(network, variant.recipe, data, seconds)
    n = len(data.validation)
    low, high = wilson(round(figures["validation_accuracy"] * n), n)
    speed = {"images_per_second": figures["images"] / figures["seconds"]}
    certainty = {"low": low, "high": high, "n": n}
    return {"variant": name, "device": device_name(), "budget": seconds} | size | figures | speed | certainty


def keep(row: dict, table: Path) -> None:
    """Put a row into the table, in place of what stood there for its variant, device and budget."""
    rows = pd.DataFrame([row])
    if table.exists():
        others = pd.read_csv(table)
        rows = pd.concat([others[~_same(others, row["variant"], row["budget"])], rows])
    rows.to_csv(table, index=False, float_format="%.6f")


def _same(rows: pd.DataFrame, name: str, seconds: float) -> pd.Series:
    return (rows["variant"] == name) & (rows["device"] == device_name()) & (rows["budget"] == seconds)


def study(data: Data, seconds: float, names: list[str], table: Path = TABLE) -> pd.DataFrame:
    """Run the variants of these names, or all that the table lacks; the table."""
    for name in names or variants(FINE):
        if names or not table.exists() or not _same(pd.read_csv(table), name, seconds).any():
            keep(run(name, data, seconds), table)
    return pd.read_csv(table)


def main() -> None:
    """Run what is asked for, or missing; then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(variants(FINE)))
    parser.add_argument("--seconds", type=float, default=30.0, help="of training, for each variant")
    options = parser.parse_args()
    if unknown := set(options.names) - set(variants(FINE)):
        parser.error(f"there is no variant {', '.join(sorted(unknown))}")
    loaded = load_cifake_only()
    print(study(Data(loaded.train, loaded.validation), options.seconds, options.names).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
