"""Errors in one sentence, and progress bars for the terminal, a notebook or an executed report."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

STOPPED_BY = (signal.SIGINT, signal.SIGTERM)
RANK = "RANK"  # environment variable: torchrun's number of this process
PROGRESS_FILE = "DETECTOR_PROGRESS"  # environment variable: the file that an executed report writes its progress to


class UserError(ValueError):
    """An error that the user can fix. Its message names the problem, the file and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """Return the message alone. IPython calls this method instead of printing a traceback."""
        return [str(self)]


def run_command(command: Callable[[], None]) -> int:
    """Run a command and return its exit status: 0, 1 after an error that the user can fix, 130 or 143 if stopped.

    SIGINT and SIGTERM stop it, also in the background, where shells let programs ignore SIGINT. Characters that the
    output's encoding lacks are escaped.
    """
    if threading.current_thread() is threading.main_thread():
        for number in STOPPED_BY:
            signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        command()
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        if _is_first():
            saved = "finished work is saved, and training resumes from its last checkpoint"
            print(f"\ninterrupted: {saved}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _is_first() -> bool:
    """Return whether this process writes to the terminal: of the processes that torchrun starts, the first does."""
    return os.environ.get(RANK, "0") == "0"


def _stop(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)


class _NotebookLine:
    """A text stream that shows its latest line under the running cell, in place."""

    _handle = None

    def write(self, text: str) -> None:
        line = {"text/plain": text.strip()}
        if self._handle:
            self._handle.update(line, raw=True)
        elif text.strip():
            from IPython.display import display

            self._handle = display(line, raw=True, display_id=True)

    def flush(self) -> None:
        """Do nothing: `write` does not buffer."""


def notebook_kernel() -> object | None:
    """Return the Jupyter kernel that runs this process, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None)


def is_interactive() -> bool:
    """Return whether a person uses the notebook: only interactive front ends allow a cell to ask for input."""
    return bool(getattr(notebook_kernel(), "_allow_stdin", False))


def progress(steps: Iterable | None = None, **options) -> "tqdm":
    """Return a tqdm progress bar that is removed when it finishes.

    It is shown in the terminal, or as one line under the cell of an interactive notebook. Where `PROGRESS_FILE` is set,
    as in an executed report, the bar is appended to that file. Of the processes of torchrun, the first shows it.

    Args:
        steps: The steps to iterate over, or None for a bar that is updated by hand.
        options: tqdm's own (total, desc, unit, ...).
    """
    from tqdm import tqdm  # here, because exported models run where it is not installed

    if path := os.environ.get(PROGRESS_FILE):
        stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 - stays open as long as the bar
    elif not _is_first():
        stream = open(os.devnull, "w")  # noqa: SIM115
    elif notebook_kernel():
        stream = _NotebookLine() if is_interactive() else open(os.devnull, "w")  # noqa: SIM115
    else:
        stream = sys.stderr
    width = {"dynamic_ncols": True} if stream is sys.stderr else {"ncols": 100}
    return tqdm(
        steps, file=stream, leave=False, position=0, ascii=" =", mininterval=0.5, disable=False, **width, **options
    )
