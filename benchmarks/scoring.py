"""Measure the rate and the memory of scoring on Ray, and compute the cost of a hundred million images.

Command: `python -m benchmarks.scoring`. Cost: about ten minutes on two CPU cores; it needs the encoder of `native`.
Question: how many images does a core score in a second, and does memory depend on the number of images? Each run is
`python -m detector predict --ray local` on shards of noise. We count the CPU time of the workers, which other
processes on the machine change little. The rate is the slope over the numbers of images, so start-up is not in it. The
section 'Scoring' of `benchmarks/SCALING.md` is written from the rows.
"""

import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from benchmarks.study import Study, open_study, single, study_parser
from detector.core import files
from detector.core.console import UserError, progress, run_command
from detector.core.device import device_name
from detector.evaluation.results import pivot, result_rows, slice_of, with_slice_columns
from detector.metrics.intervals import metric_table
from detector.report.model_card import markdown
from detector.report.update import write_between_marks

PAGE = files.ROOT / "benchmarks" / "SCALING.md"
MARKS = ("<!-- scoring: written by `python -m benchmarks.scoring` -->", "<!-- end of scoring -->")
RUNS = {"cnn": (48, (200, 400, 800)), "native": (512, (8, 16, 32))}  # pixels of a side, numbers of images
SMOKE_RUNS = {"cnn": (48, (4, 8))}
SHARDS = 8  # of a run, so that each core has work
SAMPLE_SECONDS = 0.1
MILLIONS, CORES, PRICE, MEGABYTES = 100, 1000, 0.05, 0.2  # assumptions of the cost: USD per core-hour, MB per image
RATE = "images_per_core_second"
UNITS = {"worker_seconds": "s", "worker_memory": "MiB", "driver_memory": "MiB", RATE: "images/s"}


def write_shards(folder: Path, side: int, images: int) -> None:
    """Write JPEG images of noise with so many pixels on a side into SHARDS tar files."""
    Image.effect_noise((side, side), 50).convert("RGB").save(folder / "image.jpg")
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for number in range(shard, images, SHARDS):
                archive.add(folder / "image.jpg", f"{number}.jpg")
    (folder / "image.jpg").unlink()


def measure(model: str, side: int, images: int) -> dict[str, float]:
    """Score so many images in a new process; return the workers' CPU seconds and the highest memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        shards, out = Path(folder, "in"), Path(folder, "out")
        shards.mkdir()
        write_shards(shards, side, images)
        command = [sys.executable, "-m", "detector", "predict", "--ray", "local", str(shards), "--out", str(out)]
        driver = psutil.Popen([*command, "--weights", str(files.model_file(model))], cwd=files.ROOT)
        seconds, memory = {}, {}
        while driver.poll() is None:
            for process in [driver, *driver.children(recursive=True)]:
                try:
                    if process == driver or "MapWorker" in " ".join(process.cmdline()):
                        memory[process.pid] = max(memory.get(process.pid, 0), process.memory_info().rss / 2**20)
                        seconds[process.pid] = sum(process.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue
            time.sleep(SAMPLE_SECONDS)
        rows = pd.read_parquet(out) if out.is_dir() else ()
    if driver.returncode or len(rows) != images or (rows["label"] == "error").any():
        raise UserError(f"Scoring {images} images by {model} failed. Read the message above.")
    driver_memory = memory.pop(driver.pid)
    workers = sum(value for pid, value in seconds.items() if pid != driver.pid)
    return {"worker_seconds": workers, "worker_memory": max(memory.values()), "driver_memory": driver_memory}


def add_rows(study: Study, model: str, side: int, images: int, values: dict[str, float]) -> None:
    """Write measurements of one run; a rate over all runs has no number of images."""
    narrow = {"side": side} | ({"images": images} if "worker_seconds" in values else {})
    table = metric_table({name: single(value, images) for name, value in values.items()})
    key = {"experiment": "scoring", "model": model, "set": "noise", "slice": slice_of(**narrow)}
    rows = result_rows(table, device=device_name(), **key)
    study.add(rows.assign(unit=rows["metric"].map(UNITS)))


def section(results: pd.DataFrame) -> str:
    """Return the section 'Scoring' of SCALING.md, in Markdown, from the study's rows."""
    is_rate = results["metric"] == RATE
    runs = pivot(results[~is_rate], ["model", "side", "images"], "metric")
    measured = pd.DataFrame(
        {
            "model": [model for model, _, _ in runs.index],
            "pixels": [f"{side}×{side}" for _, side, _ in runs.index],
            "CPU time of the workers": [f"{value:.0f} s" for value in runs["worker_seconds"]],
            "largest worker": [f"{value:.0f} MiB" for value in runs["worker_memory"]],
            "driver": [f"{value:.0f} MiB" for value in runs["driver_memory"]],
        },
        index=[f"{images} images" for _, _, images in runs.index],
    )
    rates = results[is_rate].set_index("model")["value"]
    hours = MILLIONS * 1e6 / rates / 3600
    cost = pd.DataFrame(
        {
            "images a second per core": rates.map("{:.2f}".format),
            "core-hours": hours.map("{:,.0f}".format),
            f"hours on {CORES:,} cores": (hours / CORES).map("{:,.1f}".format),
            "USD": (hours * PRICE).map("{:,.0f}".format),
            f"MB/s read by {CORES:,} cores": (rates * CORES * MEGABYTES).map("{:,.0f}".format),
        }
    ).rename(lambda name: f"`{name}`")
    (device,) = results["device"].unique()
    return (
        f"Measured on one machine ({device}):\n\n{markdown(measured)}\n\n"
        f"{MILLIONS} million images on paper, from the rate per core of these runs:\n\n{markdown(cost)}\n\n"
        f"Assumptions: a core-hour costs {PRICE} USD and an image has {MEGABYTES} MB. All cores are as fast as this "
        "one and always busy, and the storage delivers what they read. Storage and its requests are not in the price."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the runs that have no row, then write rates and the section of SCALING.md, and print it."""
    study = open_study("scoring", study_parser("scoring", __doc__).parse_args(arguments))
    runs = SMOKE_RUNS if study.smoke else RUNS
    for model, (side, numbers) in runs.items():
        for images in progress(numbers, desc=f"runs of {model}", unit=" runs"):
            if not study.has(model=model, slice=slice_of(side=side, images=images)):
                add_rows(study, model, side, images, measure(model, side, images))
        rows = with_slice_columns(study.results()).query("model == @model and metric == 'worker_seconds'")
        slope, _ = np.polyfit(rows["images"].astype(int), rows["value"], 1)
        add_rows(study, model, side, sum(numbers), {RATE: 1 / slope})
    text = section(study.results())
    if not study.smoke:
        write_between_marks(PAGE, MARKS, text)
    print(text)


if __name__ == "__main__":
    sys.exit(run_command(main))
