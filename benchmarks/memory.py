"""Measure the peak memory of every command: the process, its workers and the kernel of the report, summed.

Command: `python -m benchmarks.memory`. Cost: an hour on two CPU cores. Run it in a clone: the commands replace results
and lists. A command that takes longer than LIMIT_S is stopped; its note says so. `demo` predicts one image. `rebuild`,
which downloads repositories, is not measured. Memory is the resident set, so that pages which several processes of a
command share count several times.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from benchmarks.study import Study, open_study, single, study_parser
from detector.core import files
from detector.core.console import progress, run_command
from detector.core.device import device_name
from detector.evaluation.results import result_rows, slice_of
from detector.inference.choice import AUTOMATIC
from detector.metrics.intervals import metric_table

LIMIT_S = 300  # of all commands but the report
PORT = 7999
COMMANDS = (
    "report --budget standard",
    "predict data/unseen",
    "predict data/unseen --ray local --out build/scores",
    f"demo --port {PORT}",
    "train cnn",
    "train transfer",
    "train native",
    "evaluate",
    "duplicates",
    "features",
    "encoder",
    "packages",
    "export cnn",
    "shards data/unseen --out build/shards",
)
ASK = """
import sys, time
from gradio_client import Client, handle_file
time.sleep(30)
Client(sys.argv[1], verbose=False).predict(handle_file(sys.argv[2]), sys.argv[3], api_name="/predict")
"""


def process_memory(process: psutil.Process) -> int:
    """Return the resident memory of a process and its descendants, in bytes."""
    size = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # it ended meanwhile
            size += one.memory_info().rss
    return size


def peak_memory(command: Sequence[str], limit: float) -> tuple[int, str]:
    """Run a command, and return its peak memory in bytes and how it ended: 'to its end', or 'stopped after N s'."""
    peak, started = 0, time.monotonic()
    process = subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with suppress(psutil.NoSuchProcess):
            watched = psutil.Process(process.pid)
            while process.poll() is None and time.monotonic() - started < limit:
                peak = max(peak, process_memory(watched))
                time.sleep(0.2)
        stopped = process.poll() is None
    finally:
        process.terminate()
        status = process.wait()
    if not stopped and status:
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return peak, f"stopped after {limit:.0f} s" if stopped else "to its end"


def ask_demo() -> subprocess.Popen:
    """Start a client that waits for the demo and sends it one image."""
    image = next(path for path in sorted(files.UNSEEN_DIR.rglob("*")) if path.is_file())
    return subprocess.Popen([sys.executable, "-c", ASK, f"http://127.0.0.1:{PORT}", str(image), AUTOMATIC])


def measure(study: Study) -> None:
    """Write a row for each command."""
    commands = ("predict --help",) if study.smoke else COMMANDS
    for command in progress(commands, desc="measuring commands", unit=" commands"):
        if study.has(model=command):
            continue
        client = ask_demo() if command.startswith("demo") else None
        limit = 3600 if command.startswith("report") else LIMIT_S
        peak, ending = peak_memory([sys.executable, "-m", "detector", *command.split()], limit)
        if client and client.wait():
            raise RuntimeError("the demo did not answer")
        metrics = metric_table({"peak_memory": single(peak / 1e9, 1)})
        key = {"experiment": "memory", "model": command, "set": "", "slice": slice_of(note=ending)}
        study.add(result_rows(metrics, device=device_name(), **key).assign(unit="GB"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study."""
    measure(open_study("memory", study_parser("memory", __doc__).parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(run_command(main))
