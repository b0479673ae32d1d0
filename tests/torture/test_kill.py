"""Jobs that are killed at random moments and started again finish with the result of an uninterrupted run."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from detector.core import files

JOBS = Path(__file__).with_name("jobs.py")
RESULTS = {  # what each job leaves behind
    "training": "model.safetensors",
    "decoding": "pixels.safetensors",
    "features": "all.safetensors",
    "duplicates": "leaks.csv",
    "evaluation": "results.csv",
    "predictions": "predictions.csv",
}


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., int]]:
    """Return a function that runs a job, perhaps kills it after some seconds, and returns its exit status."""
    environment = os.environ | {"PYTHONPATH": str(files.ROOT), "OMP_NUM_THREADS": "1"}  # a fork must find no threads
    program = subprocess.Popen(
        [sys.executable, JOBS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(job: str, folder: Path, seconds: float | None = None) -> int:
        folder.mkdir(exist_ok=True)
        print(job, folder, sep="\t", file=program.stdin, flush=True)
        number = int(program.stdout.readline())
        timer = threading.Timer(seconds or 0, os.kill, (number, signal.SIGKILL))
        if seconds:
            timer.start()
        status = int(program.stdout.readline())
        timer.cancel()
        return status

    with program:
        yield run
        program.stdin.close()


def check_files(folder: Path) -> None:
    """Read every file that the job's next run could read."""
    for path in folder.rglob("*"):
        if path.suffix == ".csv":
            assert len(pd.read_csv(path).columns) > 1
        if path.suffix == ".safetensors":
            files.read_tensors(path)


def read(folder: Path, job: str) -> object:
    """Return a job's result; the order of a safetensors file's metadata is random."""
    path = folder / RESULTS[job]
    if path.suffix == ".csv":
        return path.read_text().replace(str(folder), "")
    tensors, metadata = files.read_tensors(path)
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}, metadata


@pytest.mark.parametrize("job", RESULTS)
def test_a_killed_job_finishes_with_the_same_result(run, job, tmp_path, effort):
    whole, killed, rng = tmp_path / "whole", tmp_path / "killed", random.Random(job)
    assert run(job, tmp_path / "first") == 0  # slower than the next one
    started = time.monotonic()
    assert run(job, whole) == 0
    duration = time.monotonic() - started
    ends = []
    least = effort(3, 20)
    while len(ends) < least or (
        -signal.SIGKILL not in ends and len(ends) < 10 * least
    ):  # a run may end before its kill
        ends.append(run(job, killed, rng.uniform(0.02, 1) * duration))
        check_files(killed)
        if ends[-1] == 0:
            shutil.rmtree(killed)  # or all later runs would find everything done
    assert -signal.SIGKILL in ends and set(ends) <= {0, -signal.SIGKILL}
    assert run(job, killed) == 0
    names = [str(path).replace(str(killed), "") for path in killed.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".part")], "files of killed runs stay for ever"
    assert read(whole, job) == read(killed, job), f"another result after these ends: {ends}"


def test_a_killed_report_finishes(tmp_path, effort):
    """On the toy dataset. `tests/report/test_execute.py` has the short form."""
    if not (kills := effort(0, 5)):
        pytest.skip("`make torture` runs it")
    command = [sys.executable, "-m", "detector", "report", "--budget", "quick"]
    offline = {"KAGGLEHUB_CACHE": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    options = {"cwd": files.ROOT, "env": os.environ | offline, "stderr": subprocess.DEVNULL}
    rng = random.Random(0)
    for _ in range(kills):
        with subprocess.Popen(command, **options) as process:
            time.sleep(rng.uniform(5, 90))
            process.kill()
    assert subprocess.run(command, **options, check=False).returncode == 0
