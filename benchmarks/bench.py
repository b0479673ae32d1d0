"""Every claim of speed, measured in one run on the machine at hand: `make bench` (about ten minutes).

Times are medians of repeats. The rivals are timed on a sample and scaled to their whole training, and the table says
so. A ratio compares two times of this same run.
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.rivals import CompactCNN, UsualCNN
from detector.anatomy import layer_table
from detector.budgets import FASTEST
from detector.cifake import find_cifake, load_cifake
from detector.data import SPLITS, Dataset, load_cifake_only
from detector.devices import fast_bfloat16, pick_device
from detector.models import CNN
from detector.prediction import BATCH, predict
from detector.progress import tell_errors
from detector.training import Recipe, train

SEEDS = 5
USUAL = {"epochs": 20, "batch_size": 64, "learning_rate": 1e-3}
COMPACT_EPOCHS = 25
TABLE = Path(__file__).with_name("bench.csv")


def median_seconds(function: Callable[[], object], *, repeats: int = 7) -> float:
    """The median time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def training_macs(model: nn.Module, images: int, *, side: int = 32) -> float:
    """Multiply-accumulates of training on so many pictures: forward once, backward twice as much."""
    return 3.0 * int(layer_table(model, side=side)["MACs"].sum()) * images


def matrix_peak(dtype: torch.dtype, size: int = 2048) -> float:
    """MACs a second of a square matrix product."""
    left, right = torch.randn(2, size, size).to(dtype)
    return size**3 / median_seconds(lambda: left @ right)


def convolution_seconds(model: nn.Module, batch: int, dtype: torch.dtype, *, backward: bool) -> float:
    """Time of the model's convolutions alone, each at its own shapes, with nothing between them."""
    shapes: list[tuple[nn.Conv2d, torch.Size]] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda m, x: shapes.append((m, x[0].shape))) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(batch, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return sum(_one_convolution(layer, shape, dtype, backward) for layer, shape in shapes)


def _one_convolution(layer: nn.Conv2d, shape: torch.Size, dtype: torch.dtype, backward: bool) -> float:
    with torch.no_grad():
        weight = layer.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        pixels = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
    forward = lambda: F.conv2d(pixels, weight, stride=layer.stride, padding=layer.padding)  # noqa: E731
    if not backward:
        with torch.no_grad():
            return median_seconds(forward)
    weight.requires_grad_()
    inputs = [weight]
    if shape[1] > 3:  # nobody needs the gradient of the picture
        inputs.append(pixels.requires_grad_())
    gradient = torch.randn_like(forward())
    return median_seconds(lambda: torch.autograd.grad(forward(), inputs, gradient))


def usual_seconds(folder: Path) -> float:
    """Seconds a picture of the usual recipe, with as many workers as cores or with none, whichever is faster."""
    return min(_usual_seconds(folder, workers) for workers in (0, os.cpu_count()))


def _usual_seconds(folder: Path, workers: int, batches: int = 12) -> float:
    """Each picture is decoded, resized to 224 pixels and learnt from, in every epoch."""
    torch.manual_seed(0)
    resized = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    loader = DataLoader(ImageFolder(str(folder), resized), USUAL["batch_size"], shuffle=True, num_workers=workers)
    device = pick_device()
    model, loss = UsualCNN().to(device), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=USUAL["learning_rate"])
    started, source = 0.0, iter(loader)
    for step in range(-2, batches):  # two batches to warm up
        if step == 0:
            started = time.perf_counter()
        pixels, labels = next(source)
        optimizer.zero_grad()
        loss(model(pixels.to(device)), labels.float().to(device)).backward()
        optimizer.step()
    return (time.perf_counter() - started) / (batches * USUAL["batch_size"])


def compact_seconds(data: Dataset) -> float:
    """Seconds a picture of the compact rival, in this project's own loop."""
    _, history = train(CompactCNN(), data.train, data.validation[:500], Recipe(epochs=3, images=12_800), name="rival")
    return 1 / history["images_per_second"].median()


def our_runs(data: Dataset) -> pd.DataFrame:
    """The fastest recipe, once a seed: seconds from fresh weights to the last, and validation accuracy.

    After each, the convolutions alone and a large matrix product are timed, so that each speed is compared with what
    the machine could do at that time.
    """
    dtype, rows = training_dtype(CNN()), []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = CNN()
        started = time.perf_counter()
        trained, history = train(model, data.train, data.validation, replace(FASTEST, seed=seed), name=f"seed {seed}")
        seconds, last = time.perf_counter() - started, history.iloc[-1]
        alone = convolution_seconds(trained, FASTEST.batch_size, dtype, backward=True) / FASTEST.batch_size
        rows.append((seconds, last["validation_accuracy"], last["images_per_second"], alone, matrix_peak(dtype)))
    return pd.DataFrame(rows, columns=["seconds", "accuracy", "images_per_second", "alone", "peak"])


def training_dtype(model: nn.Module) -> torch.dtype:
    """What a CPU multiplies in while it trains this model."""
    return torch.bfloat16 if fast_bfloat16(model, torch.device("cpu")) else torch.float32


def data_seconds(root: Path) -> tuple[float, float]:
    """Seconds to check and decode all of CIFAKE's files, and to load them again from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cifake.safetensors")
        started = time.perf_counter()
        load_cifake(root, cache)
        decoding = time.perf_counter() - started
        return decoding, median_seconds(lambda: load_cifake(root, cache), repeats=3)


def learning_rows(data: Dataset, root: Path, runs: pd.DataFrame) -> list[tuple]:
    """Our seconds to 96%, the rivals' for the same pictures, and the ratios."""
    images = len(data.train)
    ours, mean, deviation = runs["seconds"].median(), runs["accuracy"].mean(), runs["accuracy"].std()
    macs = training_macs(CNN(), FASTEST.epochs * images)
    usual = usual_seconds(root / "train") * images * USUAL["epochs"]
    usual_macs = training_macs(UsualCNN(), images * USUAL["epochs"], side=224)
    compact = compact_seconds(data) * images * COMPACT_EPOCHS
    compact_macs = training_macs(CompactCNN(), images * COMPACT_EPOCHS)
    scaled = "one sample, scaled to its epochs"
    return [
        ("validation accuracy, mean", 100 * mean, "%", f"{SEEDS} seeds, deviation {100 * deviation:.2f}"),
        ("validation accuracy, lowest", 100 * runs["accuracy"].min(), "%", f"{SEEDS} seeds"),
        ("our recipe, whole training", ours, "s", f"median of {SEEDS} seeds, scored after each epoch"),
        ("usual recipe at 224 px, whole training", usual, "s", scaled),
        ("usual recipe / ours, seconds", usual / ours, "×", "this run"),
        ("usual recipe / ours, MACs", usual_macs / macs, "×", "counted"),
        ("compact rival, 25 epochs", compact, "s", f"{scaled}, in our loop"),
        ("compact rival / ours, seconds", compact / ours, "×", "this run"),
        ("compact rival / ours, MACs", compact_macs / macs, "×", "counted"),
    ]


def training_rows(runs: pd.DataFrame) -> list[tuple]:
    """How near the training comes to the machine's own peak."""
    speed, name = runs["images_per_second"], str(training_dtype(CNN())).removeprefix("torch.")
    own, product = speed * runs["alone"], training_macs(CNN(), 1) * speed / runs["peak"]
    peak = f"{runs['peak'].median() / 1e9:,.0f} GMAC/s"
    return [
        ("pictures", speed.median(), "images/s", f"median of {SEEDS} seeds"),
        ("share of its convolutions' own speed", 100 * own.median(), "%", f"{name}, at its shapes, in turn"),
        ("share of a large matrix product's speed", 100 * product.median(), "%", f"{name}, {peak}, in turn"),
    ]


def inference_rows(data: Dataset) -> list[tuple]:
    """One picture, many pictures, the test folder."""
    model = CNN().to(memory_format=torch.channels_last).eval()
    single = median_seconds(lambda: predict(model, data.test.pixels[:1]), repeats=50)
    folder, share = zip(*(_test_folder(model, data) for _ in range(3)), strict=True)
    seconds = statistics.median(folder)
    return [
        ("one picture", 1000 * single, "ms", "median of 50"),
        ("many pictures", len(data.test) / seconds, "images/s", "median of 3"),
        (
            "share of its convolutions' own speed",
            100 * statistics.median(share),
            "%",
            "float32, at its shapes, in turn",
        ),
        ("the test folder", seconds, "s", f"{len(data.test):,} pictures, median of 3"),
    ]


def _test_folder(model: nn.Module, data: Dataset) -> tuple[float, float]:
    """Seconds to score the test folder, and the share of them that its convolutions take when timed right after."""
    started = time.perf_counter()
    predict(model, data.test.pixels)
    seconds = time.perf_counter() - started
    alone = convolution_seconds(model, BATCH, torch.float32, backward=False) / BATCH
    return seconds, alone * len(data.test) / seconds


def main() -> None:
    """Measure, print one table, and keep it in bench.csv."""
    data, root = load_cifake_only(), find_cifake()
    runs = our_runs(data)
    decoding, cached = data_seconds(root)
    files = sum(len(getattr(data, name)) for name in SPLITS)
    rows = [
        ("decode and check every file", files / decoding, "files/s", f"{decoding:.1f} s for {files:,}"),
        ("load again from the cache", cached, "s", "median of 3"),
        *((f"training: {row[0]}", *row[1:]) for row in training_rows(runs)),
        *((f"inference: {row[0]}", *row[1:]) for row in inference_rows(data)),
        *((f"to 96%: {row[0]}", *row[1:]) for row in learning_rows(data, root, runs)),
    ]
    table = pd.DataFrame(rows, columns=["what", "value", "unit", "how"])
    table.to_csv(TABLE, index=False, float_format="%.4g")
    cores = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print(f"on {cores}\n{table.to_string(index=False, float_format=lambda value: f'{value:,.4g}')}")


if __name__ == "__main__":
    sys.exit(tell_errors(main))
