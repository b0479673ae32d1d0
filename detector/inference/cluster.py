"""Decide on millions of images with Ray Data, on all cores of this machine or of a cluster.

Each worker process loads the models once and scores one image after the other. Its rows go into Parquet files of at
most PART rows, which are written completely or not at all. The metadata of these files tell which inputs are finished.
After an interruption the same command therefore scores only the rest.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import chain
from pathlib import Path

from detector.core.console import UserError, progress
from detector.core.extras import import_extra
from detector.inference.files import load_models, predict_file
from detector.inference.storage import (
    SHARD,
    absolute,
    completed_inputs,
    exists,
    list_inputs,
    name_of,
    open_location,
    read_images,
    write_part,
)
from detector.models.base import Detector
from detector.models.weights import read_metadata

LOCAL = "local"
PART = 256  # rows of a Parquet file, and images that a worker may have to score again after a failure
MAX_TASKS = 10_000  # that Ray keeps track of, each with one or more units
TASK_HOURS = 24  # without a finished task: Ray restarts a worker without limit if an image always ends it
ANSWER_SECONDS = 30  # within which a cluster must accept a connection
OBJECT_STORE = 100 * 2**20  # bytes: names and counts pass through it, images do not


def predict_on_ray(address: str, locations: Sequence[str], out: str, weights: Path | None = None) -> None:
    """Decide on all images at the locations and write their rows as Parquet files into the folder `out`.

    Inputs that are complete in `out` are not scored again.

    Args:
        address: 'local' for this machine, or the address of a Ray cluster ('HOST:PORT', 'auto').
        locations: files, WebDataset shards, and folders of either, as `storage.list_inputs` takes them.
        out: a folder that all workers can write to.
        weights: the model's file; by default `choice.choose_model` picks a released model for each image.

    Raises UserError if a package or a location is missing, the cluster does not answer, the storage fails, or an image
    could not be read.
    """
    import_extra("ray")
    import_extra("pyarrow")
    out, *locations = map(absolute, [out, *locations])
    if weights:
        weights = weights.resolve()
        read_metadata(weights)  # a wrong file is reported now, not by every worker
    completed = completed_inputs(out)
    units = list_units(locations, completed)
    if units:
        with connected(address):
            images, errors = _run(units, out, weights)
        _check_complete(units, out)
    else:
        images = errors = 0
    print(f"{images} images scored, {len(completed)} inputs scored earlier: {name_of(out, open_location(out)[1])}")
    if errors:
        raise UserError(f"{errors} of {images} images could not be read. Their rows have the label 'error'.")


def list_units(locations: Sequence[str], completed: set[str]) -> list[dict]:
    """Return the inputs that are not completed, as the units that workers take: a shard, or up to PART files.

    Each has the keys location and paths. Raises UserError as `list_inputs` does, or if there are no inputs at all.
    """
    units, seen = [], set(completed)
    for location in locations:
        paths = [path for path in list_inputs(location) if name_of(location, path) not in seen]
        seen.update(name_of(location, path) for path in paths)
        loose = [path for path in paths if not path.endswith(SHARD)]
        groups = [loose[first : first + PART] for first in range(0, len(loose), PART)]
        groups += [[path] for path in paths if path.endswith(SHARD)]
        units += [{"location": location, "paths": group} for group in groups]
    if not seen:
        raise UserError(f"There are no files in {', '.join(locations)}. Name an image, a shard or a folder of either.")
    return units


def score_unit(models: Mapping[str, Detector], unit: dict, out: str) -> dict[str, int]:
    """Decide on the images of a unit and write their rows; return the numbers of inputs, images and errors.

    A part file that exists already is kept and its images are not scored: an earlier run, or a worker that was lost,
    wrote it. Raises OSError if the storage fails.
    """
    location, paths = unit["location"], unit["paths"]
    names = [name_of(location, path) for path in paths]
    key = hashlib.sha256(json.dumps([PART, names]).encode()).hexdigest()[:16]
    images = chain.from_iterable(read_images(location, path) for path in paths)
    rows, part, is_written, counts = [], f"part-{key}-00000.parquet", False, Counter(inputs=len(paths))
    for index, (file, read) in enumerate(images):
        if index % PART == 0:
            if rows:
                write_part(out, part, rows, ())
            rows, part = [], f"part-{key}-{index // PART:05}.parquet"
            is_written = exists(out, part)
        if not is_written:
            rows.append(predict_file(models, file, read))
            counts.update(images=1, errors=rows[-1]["label"] == "error")
    if not is_written:
        write_part(out, part, rows, names)
    return {name: counts[name] for name in ("inputs", "images", "errors")}


class Scorer:
    """A worker process of Ray, which loads the models once and then scores units."""

    def __init__(self, weights: Path | None, out: str):
        self.models, self.out = load_models(weights), out

    def __call__(self, unit: dict) -> dict[str, int | str]:
        """Return the counts of `score_unit` and the failure of the storage, which is empty where there was none."""
        try:
            return score_unit(self.models, unit, self.out) | {"failure": ""}
        except OSError as error:
            return {"inputs": 0, "images": 0, "errors": 0, "failure": str(error)}


def _run(units: list[dict], out: str, weights: Path | None) -> tuple[int, int]:
    """Score the units on the connected cluster; return the numbers of images and of errors."""
    import ray

    workers = max(1, min(int(ray.cluster_resources().get("CPU", 1)), len(units)))
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
    )
    dataset = ray.data.from_items(units, override_num_blocks=min(len(units), MAX_TASKS))
    results = dataset.map(Scorer, fn_constructor_args=(weights, out), compute=pool, num_cpus=1)
    images = errors = 0
    try:
        with progress(total=sum(len(unit["paths"]) for unit in units), desc="scoring", unit=" inputs") as bar:
            for counts in results.iter_rows():
                if counts["failure"]:
                    raise UserError(f"The storage failed ({counts['failure']}). Start again: finished images are kept.")
                images, errors = images + counts["images"], errors + counts["errors"]
                bar.update(counts["inputs"])
    except ray.data.exceptions.ExecutionTimeoutError as error:
        raise UserError(
            f"No worker finished a task within {TASK_HOURS} hours: a shard is too large, or an image ends its worker. "
            "Finished images are kept."
        ) from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1].removesuffix(".")
        raise UserError(f"Ray stopped ({reason}). Start again: finished images are kept.") from error
    return images, errors


def _check_complete(units: list[dict], out: str) -> None:
    """Raise UserError unless the part files in `out` name every input of the units."""
    wanted = {name_of(unit["location"], path) for unit in units for path in unit["paths"]}
    if missing := wanted - completed_inputs(out):
        raise UserError(
            f"{len(missing)} inputs have no rows in {out}, among them {min(missing)}. "
            "Name a folder after --out that every machine of the cluster shares, such as s3://bucket/dir."
        )


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Start Ray on this machine, or connect to a cluster, and disconnect at the end, without output.

    Raises UserError if the cluster does not answer within ANSWER_SECONDS.
    """
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # else Ray sends statistics of its use
    options = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE}
    else:
        _check_answers(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with _discarded_output():
        try:
            ray.init(**options)
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has replaced it
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            context.execution_no_progress_timeout_s = TASK_HOURS * 3600  # 30 minutes is too short for a large shard
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors are raised, too
            yield
        finally:
            ray.shutdown()


@contextmanager
def _discarded_output() -> Iterator[None]:
    """Discard what Ray's threads and libraries print; a progress bar still reaches the terminal."""
    with os.fdopen(os.dup(2), "w", errors="backslashreplace") as terminal, open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            with redirect_stdout(nowhere), redirect_stderr(terminal):
                yield
        finally:
            os.dup2(terminal.fileno(), 2)


def _check_answers(address: str) -> None:
    """Connect to a cluster from another process, because a failed connection can block or end the process."""
    connect = "import sys, ray; ray.init(sys.argv[1], logging_level='ERROR')"
    command = [sys.executable, "-c", connect, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"no answer within {ANSWER_SECONDS} s"
    if reason:
        raise UserError(f"No Ray cluster answers at {address} ({reason}). Check the address, or use --ray {LOCAL}.")
