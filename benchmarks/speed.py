"""Measure every speed that the report states, in one run on one machine without an accelerator.

Command: `make bench` or `python -m benchmarks.speed`. Cost: about ten minutes on two CPU cores.
Question: how fast are loading, training and prediction on the CPU, how close do they come to the machine's own speed,
how fast is the exported CNN, and how long do two baseline networks train? Times are medians of repeats. The baselines
are timed on a sample and scaled to their whole training. A ratio compares two times of the same run. A whole run
replaces all rows of this device at its end; an interrupted run changes nothing.
"""

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from benchmarks.baselines import CompactCNN, usual_cnn
from benchmarks.study import Study, median_seconds, open_study, single, study_parser, timed
from detector.core.console import UserError, run_command
from detector.core.device import device_name, fast_bfloat16, pick_device
from detector.data.cifake import find_cifake, load_cifake
from detector.data.dataset import SPLITS, Dataset
from detector.data.decode import decode_image
from detector.evaluation.results import result_rows, slice_of
from detector.inference.choice import choose_model
from detector.inference.decision import first_prediction
from detector.inference.export import write_onnx
from detector.inference.native import check_stability
from detector.inference.predict import BATCH, predict, predict_features
from detector.metrics.intervals import mean_interval, metric_table
from detector.models.cnn import CNN
from detector.models.summary import layer_table
from detector.models.weights import NATIVE_RELEASED, released_models
from detector.training.loop import train
from detector.training.recipes import FAST, Recipe

USUAL_SIDE, USUAL_BATCH = 224, 64  # of the usual CNN
MATRIX_SIDE = 2048


def training_macs(model: nn.Module, images: int, *, side: int = 32) -> float:
    """Return the multiply-accumulates of training on so many images: a backward pass costs two forward passes."""
    return 3.0 * int(layer_table(model, side=side)["MACs"].sum()) * images


def convolution_seconds(model: nn.Module, batch: int, dtype: torch.dtype, repeats: int, *, backward: bool) -> float:
    """Return the time of the model's convolutions alone, each at its own shapes, for one batch of 32-pixel images."""
    shapes: list[tuple[nn.Conv2d, torch.Size]] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(lambda m, x: shapes.append((m, x[0].shape))) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(batch, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return sum(_one_convolution(layer, shape, dtype, repeats, backward) for layer, shape in shapes)


def _one_convolution(layer: nn.Conv2d, shape: torch.Size, dtype: torch.dtype, repeats: int, backward: bool) -> float:
    weight, pixels = (
        tensor.to(dtype).contiguous(memory_format=torch.channels_last)
        for tensor in (layer.weight.detach(), torch.randn(shape))
    )
    forward = partial(F.conv2d, pixels, weight, stride=layer.stride, padding=layer.padding)
    if not backward:
        return median_seconds(forward, repeats)
    inputs = [weight.requires_grad_()]
    if shape[1] > 3:  # training does not need the gradient of the image
        inputs.append(pixels.requires_grad_())
    gradient = torch.randn_like(forward())
    return median_seconds(lambda: torch.autograd.grad(forward(), inputs, gradient), repeats)


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
        load = partial(load_cifake, root, Path(folder, "cifake.safetensors"))
        decoding, cached = timed(load)[1], median_seconds(load, 3)
    count = sum(len(getattr(data, name)) for name in SPLITS)
    return stage_rows(
        "",
        "data",
        ("decoding and checking rate", count / decoding, "files/s", count, "once"),
        ("loading from the cache", cached, "s", 3, "median"),
    )


def inference_rows(study: Study, data: Dataset) -> pd.DataFrame:
    """Time the prediction of one image and of the test set."""
    model = study.new_cnn().to(memory_format=torch.channels_last).eval()
    images, n_one, n, runs = len(data.test), study.repeats(50), study.repeats(3), []
    one = median_seconds(partial(predict, model, data.test.pixels[:1]), n_one)
    for _ in range(n):
        seconds = timed(predict, model, data.test.pixels)[1]
        alone = convolution_seconds(model, BATCH, torch.float32, study.repeats(7), backward=False) / BATCH
        runs.append((seconds, alone * images / seconds))
    seconds, share = pd.DataFrame(runs).median()
    return stage_rows(
        "cnn",
        "inference",
        ("one image", 1000 * one, "ms", n_one, "median"),
        ("inference rate", images / seconds, "images/s", n, "median"),
        ("share of its convolutions' speed", 100 * share, "%", n, "float32, at the same shapes, timed after each run"),
        ("test set", seconds, "s", n, "median"),
    )


def onnx_rows(study: Study, data: Dataset) -> pd.DataFrame:
    """Time one image and one batch by PyTorch and by ONNX Runtime, in turn: ratios, above 1 where the latter is faster.

    Both have the same network and number of threads. ONNX Runtime also computes the OOD score, which the file holds.
    """
    import onnxruntime

    model = study.new_cnn().to(memory_format=torch.channels_last).eval()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(write_onnx(model, Path(folder, "cnn.onnx"), {}), options)
    rows = []
    for metric, size, n in (("one image", 1, 50), (f"batch of {BATCH}", BATCH, 20)):
        pixels, n = data.test.pixels[:size], study.repeats(n)
        functions = partial(predict, model, pixels), partial(session.run, None, {"pixels": pixels.numpy()})
        seconds = pd.DataFrame([[timed(function)[1] for function in functions] for _ in range(n + 1)])[1:]  # warm
        ratio = (seconds[0] / seconds[1]).median()
        rows.append((f"{metric}, PyTorch / ONNX Runtime", ratio, "x", n, "ratio of times, same run"))
    return stage_rows("cnn", "inference", *rows)


def native_rows(study: Study) -> pd.DataFrame:
    """Time the answer for a large photo: from the bytes of its file to the decision, then the check of stability.

    The share of the network is that of the features of the same crops and of the overview, timed alone.
    """
    size = (400, 300) if study.smoke else (4000, 3000)
    file = io.BytesIO()
    Image.fromarray(load_sample_image("china.jpg")).resize(size, Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=92
    )
    models, data, n = released_models(list(NATIVE_RELEASED)), file.getvalue(), study.repeats(7)
    name, _ = choose_model(models, decode_image(data))
    model = models[name]
    prediction = first_prediction(model, decode_image(data))
    views = torch.cat([prediction.crops, prediction.crops[:1]])  # one more for the overview
    runs = []
    for _ in range(n):
        answer = timed(lambda: first_prediction(model, decode_image(data)))[1]
        stability = timed(check_stability, model, prediction)[1]
        runs.append((answer, stability, timed(predict_features, model, views)[1] / answer))
    answer, stability, share = pd.DataFrame(runs).median()
    note = f"median, photo of {size[0] * size[1] / 1e6:.3g} megapixels"
    return stage_rows(
        name,
        "inference",
        ("answer", 1000 * answer, "ms", n, note),
        ("share of its network's speed", 100 * share, "%", n, "features of the same crops, timed after each run"),
        ("check of stability", 1000 * stability, "ms", n, note),
    )


def training_rows(study: Study, data: Dataset) -> tuple[pd.DataFrame, float]:
    """Train by the fast recipe, once for each seed; return rows and the median seconds of a training.

    After each training we measure what the machine can do at that time: the seconds of the convolutions for one image,
    and the MACs per second of a product of two square matrices.
    """
    network, batch, n, repeats = study.new_cnn(), study.adapt(FAST).batch_size, study.repeats(5), study.repeats(7)
    dtype = torch.bfloat16 if fast_bfloat16(network, torch.device("cpu")) else torch.float32
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE).to(dtype)
    runs = []
    for seed in range(n):
        (trained, history), seconds = timed(study.train_cnn, data, replace(FAST, seed=seed), f"seed {seed}")
        convolutions = convolution_seconds(trained, batch, dtype, repeats, backward=True) / batch
        matrix = MATRIX_SIDE**3 / median_seconds(partial(torch.matmul, left, right), repeats)
        runs.append((seconds, *history[["validation_accuracy", "images_per_second"]].iloc[-1], convolutions, matrix))
    seconds, accuracy, speed, convolutions, matrix = (column for _, column in pd.DataFrame(runs).items())
    share = 100 * (speed * convolutions).median()
    matrix_share = 100 * (training_macs(network, 1) * speed / matrix).median()
    precision = str(dtype).removeprefix("torch.")
    note, at_shapes = (f"{precision}, {shapes}timed after each run" for shapes in ("", "at the same shapes, "))
    whole = "median over seeds, with an evaluation after each epoch"
    rows = stage_rows(
        "cnn",
        "training",
        ("training rate", speed.median(), "images/s", n, "median over seeds"),
        ("share of its convolutions' speed", share, "%", n, at_shapes),
        ("share of a large matrix product's speed", matrix_share, "%", n, note),
        ("large matrix product", matrix.median() / 1e9, "GMAC/s", n, note),
        ("accuracy, mean", mean_interval(100 * accuracy.to_numpy()), "%", n, "mean over seeds"),
        ("accuracy, standard deviation", 100 * accuracy.std(), "points", n, "over seeds"),
        ("accuracy, lowest", 100 * accuracy.min(), "%", n, "over seeds"),
        ("whole training", seconds.median(), "s", n, whole),
    )
    return rows, seconds.median()


def usual_seconds(folder: Path, workers: int, batches: int) -> float:
    """Return the seconds per image of the usual recipe, which decodes and resizes each image in every epoch."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.manual_seed(0)
    resize = transforms.Compose([transforms.Resize((USUAL_SIDE, USUAL_SIDE)), transforms.ToTensor()])
    source = iter(DataLoader(ImageFolder(str(folder), resize), USUAL_BATCH, shuffle=True, num_workers=workers))
    model, loss = usual_cnn(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def train_on(count: int) -> None:
        for pixels, labels in islice(source, count):
            optimizer.zero_grad()
            loss(model(pixels), labels.float()).backward()
            optimizer.step()

    train_on(2)  # warm up
    return timed(train_on, batches)[1] / (batches * USUAL_BATCH)


def baseline_rows(name: str, note: str, whole: float, macs: float, seconds: float, images: int) -> pd.DataFrame:
    """Compare a baseline's whole training, in seconds and MACs, with `seconds` of ours on so many images."""
    return stage_rows(
        name,
        "training",
        ("whole training", whole, "s", 1, f"one sample, {note}"),
        ("time relative to cnn", whole / seconds, "x", 1, "ratio to cnn, same run"),
        ("MACs relative to cnn", macs / training_macs(CNN(), FAST.epochs * images), "x", 1, "ratio to cnn, counted"),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all speeds, write them together, and print the table. Raises UserError if there is an accelerator."""
    study = open_study("speed", study_parser("speed", __doc__).parse_args(arguments))
    if pick_device().type != "cpu" and not study.smoke:
        raise UserError(
            f"This study measures the CPU, but training would run on {device_name()}. Run `python -m "
            "benchmarks.gpu_speed`, the study for that device, or hide an NVIDIA GPU by CUDA_VISIBLE_DEVICES=''."
        )
    data = study.load_data()
    images = len(data.train)
    rows = [onnx_rows(study, data)]  # first, because its package may be missing
    if not study.smoke:  # the toy dataset has no files, and a smoke run reads no released model
        rows += [data_rows(data, find_cifake()), native_rows(study)]
    rows.append(inference_rows(study, data))
    ours, seconds = training_rows(study, data)
    compact, recipe = CompactCNN(), study.adapt(Recipe(epochs=3, images=12_800))
    _, history = train(compact, data.train, data.validation[:500], recipe, name="compact CNN")
    whole, macs = 25 * images / history["images_per_second"].median(), training_macs(compact, 25 * images)
    note = "scaled to 25 epochs, in our training loop"
    rows += [ours, baseline_rows("compact CNN", note, whole, macs, seconds, images)]
    if not study.smoke:
        faster = min(usual_seconds(find_cifake() / "train", workers, 12) for workers in (0, os.cpu_count()))
        macs = training_macs(usual_cnn(), 20 * images, side=USUAL_SIDE)
        rows.append(baseline_rows("usual CNN", "scaled to 20 epochs", 20 * images * faster, macs, seconds, images))
    study.add(pd.concat(rows), replaced_device=device_name())
    print(study.results()[["model", "slice", "metric", "value", "unit"]].to_string(index=False))


if __name__ == "__main__":
    sys.exit(run_command(main))
