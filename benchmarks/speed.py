"""Measure every speed that the report states, in one run on one machine.

Command: `make bench` or `python -m benchmarks.speed`. Cost: about ten minutes on two CPU cores.
Question: how fast are loading, training and prediction, how close do they come to the machine's own speed, and how
long do two baseline networks train? Times are medians of repeats. The baselines are timed on a sample and scaled to
their whole training. A ratio compares two times of the same run. Every run replaces all rows of this device.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks.baselines import CompactCNN, UsualCNN
from benchmarks.machine import convolution_seconds, matrix_macs_per_second, median_seconds
from benchmarks.study import Study, open_study, single, study_parser
from detector.core.console import run_command
from detector.core.device import device_name, fast_bfloat16, pick_device
from detector.data.cifake import find_cifake, load_cifake
from detector.data.dataset import SPLITS, Dataset
from detector.evaluation.results import result_rows, slice_of
from detector.inference.predict import BATCH, predict
from detector.metrics.intervals import mean_interval, metric_table
from detector.models.cnn import CNN
from detector.models.summary import layer_table
from detector.training.loop import train
from detector.training.recipes import FAST, Recipe

USUAL_SIDE, USUAL_BATCH, USUAL_EPOCHS, USUAL_RATE = 224, 64, 20, 1e-3
COMPACT_EPOCHS, COMPACT_SAMPLE = 25, Recipe(epochs=3, images=12_800)


@dataclass(frozen=True)
class Repeats:
    """How often a time is measured."""

    seeds: int = 5
    convolution: int = 7
    single: int = 50
    inference: int = 3
    usual_batches: int = 12
    compact: Recipe = COMPACT_SAMPLE


SMOKE = Repeats(1, 1, 1, 1, 1, Recipe(epochs=2, batch_size=16, images=64))


def training_macs(model: nn.Module, images: int, *, side: int = 32) -> float:
    """Return the multiply-accumulates of training on so many images: a backward pass costs two forward passes."""
    return 3.0 * int(layer_table(model, side=side)["MACs"].sum()) * images


def training_dtype(model: nn.Module) -> torch.dtype:
    """Return the type in which the CPU trains this model."""
    return torch.bfloat16 if fast_bfloat16(model, torch.device("cpu")) else torch.float32


def stage_rows(model: str, stage: str, *measurements: tuple) -> pd.DataFrame:
    """Return rows for this device from measurements (metric, value, unit, n, note).

    A value is a number, or a tuple (value, low, high, n).
    """
    rows = []
    for metric, value, unit, n, note in measurements:
        metrics = metric_table({metric: value if isinstance(value, tuple) else single(value, n)})
        set_ = "validation" if metric.startswith("accuracy") else "test" if stage == "inference" else ""
        key = {"experiment": "speed", "model": model, "set": set_, "slice": slice_of(stage=stage, note=note)}
        rows.append(result_rows(metrics, device=device_name(), **key).assign(unit=unit))
    return pd.concat(rows)


def data_rows(data: Dataset, root: Path) -> pd.DataFrame:
    """Time checking and decoding of all CIFAKE files, then loading from the cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cifake.safetensors")
        started = time.perf_counter()
        load_cifake(root, cache)
        decoding = time.perf_counter() - started
        cached = median_seconds(lambda: load_cifake(root, cache), 3)
    count = sum(len(getattr(data, name)) for name in SPLITS)
    return stage_rows(
        "",
        "data",
        ("decoding and checking rate", count / decoding, "files/s", count, "once"),
        ("loading from the cache", cached, "s", 3, "median"),
    )


def inference_rows(data: Dataset, network: nn.Module, repeats: Repeats) -> pd.DataFrame:
    """Time the prediction of one image and of the test set."""
    model = network.to(memory_format=torch.channels_last).eval()
    one = median_seconds(lambda: predict(model, data.test.pixels[:1]), repeats.single)
    times, shares, n = [], [], repeats.inference
    for _ in range(n):
        started = time.perf_counter()
        predict(model, data.test.pixels)
        times.append(time.perf_counter() - started)
        alone = convolution_seconds(model, BATCH, torch.float32, repeats.convolution, backward=False) / BATCH
        shares.append(alone * len(data.test) / times[-1])
    seconds, timed = statistics.median(times), "float32, at the same shapes, timed after each run"
    return stage_rows(
        "cnn",
        "inference",
        ("one image", 1000 * one, "ms", repeats.single, "median"),
        ("inference rate", len(data.test) / seconds, "images/s", n, "median"),
        ("share of its convolutions' speed", 100 * statistics.median(shares), "%", n, timed),
        ("test set", seconds, "s", n, "median"),
    )


def training_runs(study: Study, data: Dataset, repeats: Repeats) -> pd.DataFrame:
    """Train by the fast recipe, once for each seed: seconds from untrained to trained weights, accuracy, speed.

    After each run, `convolutions` (seconds for one image) and `matrix` (MACs per second) measure what the machine
    could do at that time.
    """
    recipe, rows = study.adapt(FAST), []
    for seed in range(repeats.seeds):
        torch.manual_seed(seed)
        model = study.new_cnn()
        started = time.perf_counter()
        trained, history = train(model, data.train, data.validation, replace(recipe, seed=seed), name=f"seed {seed}")
        seconds, last, dtype = time.perf_counter() - started, history.iloc[-1], training_dtype(model)
        alone = convolution_seconds(trained, recipe.batch_size, dtype, repeats.convolution, backward=True)
        matrix = matrix_macs_per_second(dtype, repeats.convolution)
        alone /= recipe.batch_size
        rows.append((seconds, last["validation_accuracy"], last["images_per_second"], alone, matrix))
    return pd.DataFrame(rows, columns=["seconds", "accuracy", "images_per_second", "convolutions", "matrix"])


def training_rows(network: nn.Module, runs: pd.DataFrame) -> pd.DataFrame:
    """Summarise `training_runs` of this network."""
    speed, accuracy, n = runs["images_per_second"], 100 * runs["accuracy"], len(runs)
    precision = str(training_dtype(network)).removeprefix("torch.")
    convolutions = 100 * (speed * runs["convolutions"]).median()
    product = 100 * (training_macs(network, 1) * speed / runs["matrix"]).median()
    timed, at_shapes = (f"{precision}, {shapes}timed after each run" for shapes in ("", "at the same shapes, "))
    whole = "median over seeds, with an evaluation after each epoch"
    return stage_rows(
        "cnn",
        "training",
        ("training rate", speed.median(), "images/s", n, "median over seeds"),
        ("share of its convolutions' speed", convolutions, "%", n, at_shapes),
        ("share of a large matrix product's speed", product, "%", n, timed),
        ("large matrix product", runs["matrix"].median() / 1e9, "GMAC/s", n, timed),
        ("accuracy, mean", mean_interval(accuracy.to_numpy()), "%", n, "mean over seeds"),
        ("accuracy, standard deviation", accuracy.std(), "points", n, "over seeds"),
        ("accuracy, lowest", accuracy.min(), "%", n, "over seeds"),
        ("whole training", runs["seconds"].median(), "s", n, whole),
    )


def usual_seconds(folder: Path, workers: int, batches: int) -> float:
    """Return the seconds per image of the usual recipe, which decodes and resizes each image in every epoch."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    resize = transforms.Compose([transforms.Resize((USUAL_SIDE, USUAL_SIDE)), transforms.ToTensor()])
    loader = DataLoader(ImageFolder(str(folder), resize), USUAL_BATCH, shuffle=True, num_workers=workers)
    device = pick_device()
    model, loss = UsualCNN().to(device), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=USUAL_RATE)
    started, source = 0.0, iter(loader)
    for step in range(-2, batches):  # two batches warm up
        if step == 0:
            started = time.perf_counter()
        pixels, labels = next(source)
        optimizer.zero_grad()
        loss(model(pixels.to(device)), labels.float().to(device)).backward()
        optimizer.step()
    return (time.perf_counter() - started) / (batches * USUAL_BATCH)


def usual_rows(data: Dataset, root: Path, repeats: Repeats, seconds: float) -> pd.DataFrame:
    """Compare the usual CNN with `seconds` of our training. It gets the faster of two numbers of worker processes."""
    images, workers = len(data.train) * USUAL_EPOCHS, (0, os.cpu_count())
    whole = images * min(usual_seconds(root / "train", number, repeats.usual_batches) for number in workers)
    macs = training_macs(UsualCNN(), images, side=USUAL_SIDE)
    return _baseline_rows("usual CNN", f"scaled to {USUAL_EPOCHS} epochs", whole, seconds, macs, data)


def compact_rows(data: Dataset, repeats: Repeats, seconds: float) -> pd.DataFrame:
    """Compare the compact CNN, in this project's training loop, with `seconds` of our training."""
    _, history = train(CompactCNN(), data.train, data.validation[:500], repeats.compact, name="compact CNN")
    images = len(data.train) * COMPACT_EPOCHS
    whole, macs = images / history["images_per_second"].median(), training_macs(CompactCNN(), images)
    note = f"scaled to {COMPACT_EPOCHS} epochs, in our training loop"
    return _baseline_rows("compact CNN", note, whole, seconds, macs, data)


def _baseline_rows(name: str, note: str, whole: float, seconds: float, macs: float, data: Dataset) -> pd.DataFrame:
    ours = training_macs(CNN(), FAST.epochs * len(data.train))
    return stage_rows(
        name,
        "training",
        ("whole training", whole, "s", 1, f"one sample, {note}"),
        ("time relative to cnn", whole / seconds, "x", 1, "ratio to cnn, same run"),
        ("MACs relative to cnn", macs / ours, "x", 1, "ratio to cnn, counted"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all speeds, write each stage when it is done, and print the table."""
    study = open_study("speed", study_parser("speed", __doc__).parse_args(arguments))
    data, repeats = study.load_data(), SMOKE if study.smoke else Repeats()
    study.clear(device_name())
    if not study.smoke:  # the toy dataset has no files
        study.add(data_rows(data, find_cifake()))
    study.add(inference_rows(data, study.new_cnn(), repeats))
    runs = training_runs(study, data, repeats)
    study.add(training_rows(study.new_cnn(), runs))
    seconds = runs["seconds"].median()
    study.add(compact_rows(data, repeats, seconds))
    if not study.smoke:
        study.add(usual_rows(data, find_cifake(), repeats, seconds))
    print(study.results()[["model", "slice", "metric", "value", "unit"]].to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
