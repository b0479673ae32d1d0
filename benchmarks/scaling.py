"""Measure training in two processes and from shards, and compute the efficiency on many GPUs on paper.

Command: `python -m benchmarks.scaling`. Cost: about ten minutes on two CPU cores, with the machine to itself.
Question: how much of the speed of one process with two threads do two processes with one thread reach, and does a
stream of shards deliver images faster than `cnn` trains on them? Each repeat measures all of them one after the other,
on images of the toy dataset. A rate is that of the fastest epoch, and a ratio compares two rates of one repeat. The
section 'Training' of `benchmarks/SCALING.md` is written from the rows, and from the GPU's step time in
`benchmarks/results/gpu_speed.csv`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torchvision.transforms.v2 import functional as TF

from benchmarks.study import open_study, single, study_parser, timed
from detector.core import files
from detector.core.console import UserError, progress, run_command
from detector.core.device import device_name
from detector.core.labels import CLASSES
from detector.data.dataset import HELD_OUT, make_toy_dataset
from detector.data.shards import open_shards, read_batches, write_shards
from detector.evaluation.results import read_results, result_rows
from detector.metrics.intervals import mean_interval, metric_table
from detector.models.cnn import CNN
from detector.report.model_card import markdown
from detector.report.update import write_between_marks
from detector.training.distributed import process_group, rank
from detector.training.loop import train
from detector.training.recipes import FAST, Recipe

PAGE = files.ROOT / "benchmarks" / "SCALING.md"
MARKS = ("<!-- training: written by `python -m benchmarks.scaling` -->", "<!-- end of training -->")
MEMORY = "in memory"
WORKER = "import sys; from benchmarks.scaling import worker; worker(sys.argv[1], *map(int, sys.argv[2:]))"
SIZE = (2560, 6)  # of each training: images, epochs
SMOKE_SIZE = (512, 2)
GPUS = {8: (300e9, 30e-6), 64: (50e9, 60e-6)}  # number -> (bytes/s of each GPU in the ring, seconds of a call)
BUCKET = 25 * 2**20  # bytes that DistributedDataParallel averages in one call


def worker(source: str, images: int, epochs: int) -> None:
    """Train `cnn` in this process, which torchrun may have started, and print the images a second of each epoch.

    Args:
        source: MEMORY, or a folder of shards.
    """
    data = make_toy_dataset("").sample(images)
    train_set = data.train if source == MEMORY else open_shards(Path(source))
    with process_group(), tempfile.TemporaryDirectory() as folder:
        files.CHECKPOINTS_DIR = Path(folder)
        recipe = Recipe(epochs=epochs, batch_size=FAST.batch_size)
        torch.manual_seed(0)
        _, history = train(CNN(), train_set, data.validation, recipe)
        if rank() == 0:
            print(json.dumps(history["images_per_second"].tolist()))


def training_rate(processes: int, threads: int, source: str, size: tuple[int, int]) -> float:
    """Return the images a second of the fastest epoch of a training in new processes: others use the CPU too."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--no-python"]
    command = [sys.executable, "-c", WORKER, source, *map(str, size)]
    started = [sys.executable, *torchrun, *command] if processes > 1 else command
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    result = subprocess.run(started, cwd=files.ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        raise UserError(f"The training in {processes} processes failed. Read the message above.")
    return max(json.loads(result.stdout))


def reading_rate(folder: Path) -> float:
    """Return the images a second that this process reads from shards."""
    shards = open_shards(folder)
    steps = range(shards.steps(FAST.batch_size))
    batches = read_batches(shards, FAST.batch_size, 0, steps)
    return len(steps) * FAST.batch_size / timed(list, batches)[1]


def write_toy_shards(folder: Path, count: int) -> Path:
    """Write training images of the toy dataset to shards and return their folder."""
    images = make_toy_dataset("").sample(count).train
    for row, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        path = folder / "images" / CLASSES[label] / "toy" / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        TF.to_pil_image(pixels).save(path)
    return write_shards(folder / "images", folder / "shards").parent


def measure(shards: Path, size: tuple[int, int]) -> dict[str, float]:
    """Return the rates of one repeat, and their ratios."""
    one = training_rate(1, 2, MEMORY, size)
    two = training_rate(2, 1, MEMORY, size)
    streamed = training_rate(1, 2, str(shards), size)
    read = reading_rate(shards)
    return {
        "rate, 1 process": one,
        "rate, 2 processes": two,
        "rate, from shards": streamed,
        "rate, reading alone": read,
        "efficiency of 2 processes": two / one,
        "efficiency from shards": streamed / one,
        "reading relative to training": read / one,
    }


def on_paper(step: float) -> pd.DataFrame:
    """Return the efficiency of `cnn` on many GPUs, from the seconds of a step on one.

    Communication is not hidden behind computation: every call and every byte of a step adds to its time.
    """
    model = CNN()
    size = 4 * sum(p.numel() for p in model.parameters())
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    calls = 2 * norms + -(-size // BUCKET) + 1  # forward and backward of each norm; gradients; auxiliary loss
    rows = {}
    for number, (bandwidth, latency) in GPUS.items():
        seconds = calls * latency + 2 * (number - 1) / number * size / bandwidth
        rows[number] = {
            "gradients": f"{size / 1e6:.1f} MB",
            "calls": str(calls),
            "communication": f"{1000 * seconds:.2f} ms",
            "efficiency, same batch on each GPU": f"{step / (step + seconds):.0%}",
            "efficiency, batch divided": f"{step / number / (step / number + seconds):.0%}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename(lambda number: f"{number} GPUs")


def measured(results: pd.DataFrame) -> str:
    """Return the table of the rows of this study, in Markdown."""
    texts = {}
    for (metric, unit), rows in results.groupby(["metric", "unit"], sort=False):
        mean, low, high, n = mean_interval(rows["value"].to_numpy())
        form = ",.0f" if mean >= 100 else ".3g"
        texts[metric] = [f"{mean:{form}} {unit}".strip(), f"{low:{form}} – {high:{form}}", f"{n}"]
    table = pd.DataFrame.from_dict(texts, orient="index", columns=["mean", "95% interval", "repeats"])
    (device,) = results["device"].unique()
    return f"Measured on one machine ({device}), `cnn` of the fast recipe:\n\n{markdown(table)}"


def computed(gpu: pd.DataFrame) -> str:
    """Return the table of many GPUs with its assumptions, in Markdown, from the rows of `gpu_speed`."""
    seconds = gpu.loc[gpu["metric"] == "seconds", "value"].median()
    step = seconds / ((100_000 - HELD_OUT) // FAST.batch_size)
    (name,) = gpu["device"].unique()
    links = "; ".join(f"{n} GPUs: {rate / 1e9:.0f} GB/s, {1e6 * wait:.0f} µs" for n, (rate, wait) in GPUS.items())
    return (
        f"On paper, from {1000 * step:.1f} ms for a step of {FAST.batch_size} images on one {name}:\n\n"
        f"{markdown(on_paper(step))}\n\n"
        "Assumptions: a ring averages float32 gradients, so that each GPU sends and receives them nearly twice. Each "
        "batch norm waits for one call in the forward and one in the backward pass. Bandwidth and time of a call are "
        f"assumed, not measured ({links}). Nothing overlaps. A divided batch takes its share of the step's time, "
        "although small batches use a GPU worse and every GPU computes the whole optimizer. So the last column is too "
        "high where computation dominates."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the repeats that have no row, then write the section of SCALING.md, and print it."""
    study = open_study("scaling", study_parser("scaling", __doc__).parse_args(arguments))
    size = SMOKE_SIZE if study.smoke else SIZE
    with tempfile.TemporaryDirectory() as folder:
        shards = write_toy_shards(Path(folder), size[0])
        for repeat in progress(range(study.repeats(4)), desc="repeats", unit=" repeats"):
            key = {"experiment": "scaling", "model": "cnn", "seed": repeat, "set": "toy", "device": device_name()}
            if not study.has(**key):
                table = metric_table({name: single(value) for name, value in measure(shards, size).items()})
                rows = result_rows(table, **key)
                study.add(rows.assign(unit=rows["metric"].str.startswith("rate").map({True: "images/s", False: ""})))
    gpu = read_results(files.ROOT / "benchmarks" / "results" / "gpu_speed.csv")
    text = f"{measured(study.results())}\n\n{computed(gpu)}"
    if not study.smoke:
        write_between_marks(PAGE, MARKS, text)
    print(text)


if __name__ == "__main__":
    sys.exit(run_command(main))
