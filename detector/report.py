"""Execute the report and render it, while the terminal tells which cell runs, what it does and what is left."""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from detector.budgets import DEFAULT, pick_budget
from detector.data import Dataset, load_data
from detector.progress import PROGRESS_FILE, InputError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "report.ipynb"


def make_report(budget: str, out: Path) -> tuple[Path, Path]:
    """Execute `report.ipynb` under a budget into `out`, as a notebook and as a page; returns the two paths.

    CIFAKE is checked, and downloaded and decoded where it is not, before the first cell runs.

    Raises InputError, in one sentence, for an unknown budget, unusable data, or a cell that failed.
    """
    print(f"report at budget {budget!r}: {pick_budget(budget).cost}", file=sys.stderr)
    _announce(load_data())
    out.mkdir(parents=True, exist_ok=True)
    notebook = load_notebook_node(str(NOTEBOOK))
    if budget != DEFAULT:
        notebook = parameterize_notebook(notebook, {"BUDGET": budget})
    target = out / "report.ipynb"
    try:
        execute(notebook)
    except CellExecutionError as error:
        raise InputError(f"a cell of the report failed, see {target}: {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        raise InputError("the report's kernel died, most likely for want of memory: about 4 GB are needed.") from error
    finally:
        nbformat.write(notebook, target)
    return target, render(target)


def _announce(data: Dataset) -> None:
    if data.name != "CIFAKE":
        print(f"on the {data.name} data: {data.note}", file=sys.stderr)


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run a notebook's cells in place, from the project's folder, showing progress in the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "progress"
        lines.touch()
        terminal = _Terminal(lines, len(notebook.cells))
        client = NotebookClient(
            notebook,
            timeout=None,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # the report tells what matters
            resources={"metadata": {"path": str(ROOT)}},
            shutdown_kernel="immediate",  # a cell that is interrupted would not listen
        )
        # cell by cell, since client.execute() would take over Ctrl-C
        with client.setup_kernel(env=os.environ | {PROGRESS_FILE: str(lines)}), terminal.watching():
            for index, cell in enumerate(notebook.cells):
                terminal.enter(index, cell)
                with _nothing_left_waiting():
                    client.execute_cell(cell, index)
    _tidy(notebook)


@contextlib.contextmanager
def _nothing_left_waiting() -> Iterator[None]:
    """On Ctrl-C, end what waits for the cell, which would otherwise report the kernel's end as a failure of its own."""
    try:
        yield
    except KeyboardInterrupt:
        loop = ensure_event_loop()
        waiting = asyncio.all_tasks(loop)
        for task in waiting:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
        raise


def _tidy(notebook: nbformat.NotebookNode) -> None:
    """Take out what a reader has no use for: times of execution, and outputs that are empty."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.output_type != "display_data" or any(out.data.values())]


class _Terminal:
    """Shows where an execution stands: one line kept up to date on a terminal, a line now and then in a log."""

    def __init__(self, lines: Path, cells: int):
        self.lines, self.cells = lines, cells
        self.heading, self.place, self.started, self.read = "", "", time.monotonic(), 0
        self.live = sys.stderr.isatty()

    def enter(self, index: int, cell: nbformat.NotebookNode) -> None:
        """Note that a cell begins: what earlier cells reported is past."""
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            self.heading = cell.source.splitlines()[0].lstrip("# ")
        self.place = f"cell {index + 1}/{self.cells}, {self.heading}"
        self.read = self.lines.stat().st_size

    def show(self) -> None:
        """Write the time, the cell, and the bar that the cell shows, if any."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        reported = self.lines.read_bytes()[self.read :].decode(errors="ignore")
        line = f"{minutes}:{seconds:02d}  {self.place}  {reported.rpartition(chr(13))[2].strip()}"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r{line[:width]:<{width}}" if self.live else f"{line}\n")
        sys.stderr.flush()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Show where it stands twice a second, or in a log four times a minute, until the end of the block."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5 if self.live else 15):
                self.show()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            self.show()
            sys.stderr.write("\n" if self.live else "")


def render(path: Path) -> Path:
    """An executed notebook as a page beside it."""
    body, _ = HTMLExporter().from_filename(str(path))
    page = path.with_suffix(".html")
    page.write_text(body, encoding="utf-8")
    return page
