"""What a waiting person sees: progress that reads well wherever the code runs, and errors in one sentence.

Progress goes to the terminal where there is one, to one line under the cell in a live notebook, and, where
the report is executed by `python -m detector report`, to the file named by `DETECTOR_PROGRESS`, which that
command shows in its own terminal. It never stays behind: a finished bar is removed.
"""

import os
import sys
from collections.abc import Callable, Iterable

from tqdm import tqdm

PROGRESS_FILE = "DETECTOR_PROGRESS"


class InputError(ValueError):
    """Something that the person gave, or has, is wrong; the message is one sentence that says what to do."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook: a notebook shows the sentence, not the path that the code took to it."""
        return [str(self)]


def tell_errors(command: Callable[[], None]) -> int:
    """Run a command; what the person can mend is told in one sentence, with exit status 1."""
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; what was saved is kept, and a training goes on from there", file=sys.stderr)
        return 130
    return 0


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
        """Each write is shown at once."""


def notebook_kernel() -> object | None:
    """The Jupyter kernel that runs this code, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None)


def someone_watches() -> bool:
    """Whether a person sits before the notebook: only front ends with a keyboard let a cell ask for input."""
    return bool(getattr(notebook_kernel(), "_allow_stdin", False))


def progress(steps: Iterable | None = None, **options) -> tqdm:
    """A tqdm bar (its `options`: total, desc, unit, …) on the stream that fits the place; leaves nothing behind."""
    if path := os.environ.get(PROGRESS_FILE):
        stream = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the bar
    elif notebook_kernel():
        stream = _NotebookLine() if someone_watches() else open(os.devnull, "w")  # noqa: SIM115
    else:
        stream = sys.stderr
    width = {"dynamic_ncols": True} if stream is sys.stderr else {"ncols": 100}
    return tqdm(
        steps, file=stream, leave=False, position=0, ascii=" =", mininterval=0.5, disable=False, **width, **options
    )
