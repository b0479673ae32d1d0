"""Execute the report and render it, while the terminal shows the current cell, its progress and the time."""

import asyncio
import base64
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from PIL import Image
from traitlets import Instance

from detector.core import files
from detector.core.console import PROGRESS_FILE, UserError

# nbconvert's page shows no alternative texts, and shrinks figures on a phone until their text cannot be read
TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block data_png %}
<div class="jp-RenderedImage jp-OutputArea-output" data-mime-type="image/png" style="overflow-x: auto">
<img style="max-width: max(100%, 640px)" alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}"
 src="data:image/png;base64,{{ output.data['image/png'] }}">
</div>
{% endblock %}"""
PLAN = """
import json
from detector.data.dataset import load_data
from detector.training.recipes import DEFAULT_BUDGET, pick_budget

cost = pick_budget({budget!r}).cost
data = load_data()
print(json.dumps(dict(cost=cost, default=DEFAULT_BUDGET, data=data.name, note=data.note)))
"""


def make_report(budget: str, out: Path, *, replace: bool = False) -> tuple[Path, Path]:
    """Execute `report.ipynb` under a budget into folder `out`; return the executed notebook and its HTML page.

    CIFAKE is checked, and downloaded and decoded if needed, before the first cell runs.

    Args:
        budget: a name of BUDGETS.
        out: the folder.
        replace: also put the executed notebook in the committed one's place.

    Raises UserError for an unknown budget, unusable data, or a cell that failed; and at once, where a run that is not
    on CIFAKE with the default budget is asked to replace the committed report.
    """
    plan = _make_plan(budget)
    print(f"report with budget {budget!r}: {plan['cost']}", file=sys.stderr)
    committed = budget == plan["default"] and plan["data"] == "CIFAKE"
    if replace and not committed:
        raise UserError(
            f"The committed report shows CIFAKE at budget '{plan['default']}'; this run may not replace it."
        )
    notebook = load_notebook_node(str(files.NOTEBOOK))
    if budget != plan["default"]:
        notebook = parameterize_notebook(notebook, {"BUDGET": budget})
    if plan["data"] != "CIFAKE":
        print(f"on the {plan['data']} dataset: {plan['note']}", file=sys.stderr)
    if not committed:
        mark_sections(notebook, f"This run uses the {plan['data']} dataset and the budget '{budget}'.")
    out.mkdir(parents=True, exist_ok=True)
    target = out / "report.ipynb"
    try:
        execute(notebook)
    except CellExecutionError as error:
        raise UserError(f"A cell of the report failed: {error.ename}: {error.evalue}. See {target}.") from error
    except DeadKernelError as error:
        raise UserError(
            "The report's kernel stopped, probably for lack of memory. Close other programs: it needs about 4 GB."
        ) from error
    finally:
        nbformat.write(notebook, target)
    if replace:
        with files.atomic_write(files.NOTEBOOK) as part:
            part.write_bytes(target.read_bytes())
    return target, render(target)


def _make_plan(budget: str) -> dict[str, str]:
    """Check the data, and return it with the budget's cost, found by a kernel of its own, which frees its memory."""
    cell = nbformat.v4.new_code_cell(PLAN.format(budget=budget))
    try:
        execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Checking the data"), cell]))
    except CellExecutionError as error:
        raise UserError(error.evalue) from error
    return json.loads(next(out.text for out in cell.outputs if out.get("name") == "stdout"))


def mark_sections(notebook: nbformat.NotebookNode, note: str) -> None:
    """Put a note below each section's heading, so that no figure of another run passes for the committed one."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            heading, _, rest = cell.source.partition("\n")
            cell.source = f"{heading}\n\n> {note} The prose describes the committed run.\n{rest}"


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run a notebook's cells in place, from the project's folder, showing progress in the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "progress"
        lines.touch()
        terminal = _Terminal(lines, len(notebook.cells))
        client = NotebookClient(
            notebook,
            kernel_manager_class=_ThisPython,
            kernel_name="python3",
            timeout=None,
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # errors reach the reader through the report
            resources={"metadata": {"path": str(files.ROOT)}},
            shutdown_kernel="immediate",  # a cell that is interrupted would not stop at a request
        )
        # cell by cell, because client.execute() would take over Ctrl-C
        with client.setup_kernel(env=os.environ | {PROGRESS_FILE: str(lines)}), terminal.watching():
            for index, cell in enumerate(notebook.cells):
                terminal.enter(index, cell)
                with _cancel_pending_on_interrupt():
                    client.execute_cell(cell, index)
    _tidy(notebook)


class _ThisPython(AsyncKernelManager):
    """Starts a kernel of the Python that runs this, whatever kernels the user has installed."""

    kernel_spec_manager = Instance(KernelSpecManager, kw={"kernel_dirs": []})


@contextlib.contextmanager
def _cancel_pending_on_interrupt() -> Iterator[None]:
    """On Ctrl-C, cancel the tasks that wait for the cell; they would report the kernel's end as a second failure."""
    try:
        yield
    except KeyboardInterrupt:
        loop = ensure_event_loop()
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        raise


def _tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove execution times, empty outputs, and the transparency of figures, which makes them a tenth smaller."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.output_type != "display_data" or any(out.data.values())]
            for data in (out.data for out in cell.outputs if "image/png" in out.get("data", {})):
                data["image/png"] = _opaque(data["image/png"])


def _opaque(png: str) -> str:
    """Return a PNG, in base64, without its alpha channel."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(stream, "png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


class _Terminal:
    """Show the state of an execution: one line kept up to date on a terminal, a line now and then in a log."""

    def __init__(self, lines: Path, cells: int):
        self.lines, self.cells, self.heading, self.place = lines, cells, "", ""
        self.started, self.live, self.done = time.monotonic(), sys.stderr.isatty(), threading.Event()

    def enter(self, index: int, cell: nbformat.NotebookNode) -> None:
        """Note that a cell begins, and forget the progress of earlier cells."""
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            self.heading = cell.source.splitlines()[0].lstrip("# ")
        self.place = f"cell {index + 1}/{self.cells}, {self.heading}"
        self.lines.write_bytes(b"")  # the kernel appends to it

    def show(self) -> None:
        """Write the time, the cell and the cell's progress bar, if any."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        reported = self.lines.read_bytes().decode(errors="ignore").rpartition("\r")[2]
        line = f"{minutes}:{seconds:02d}  {self.place}  {reported.strip()}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[:width]:<{width}}" if self.live else f"{line}\n", end="", file=sys.stderr, flush=True)

    def watch(self) -> None:
        """Show the state twice a second, or at first and then four times a minute in a log, and once it is done."""
        interval = 0.5
        while not self.done.wait(interval):
            self.show()
            interval = 0.5 if self.live else 15
        self.show()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch in the background until the end of the block."""
        watcher = threading.Thread(target=self.watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self.done.set()
            watcher.join()
            sys.stderr.write("\n" if self.live else "")


def render(path: Path) -> Path:
    """Write an executed notebook as an HTML page beside it; return the page."""
    body, _ = HTMLExporter(raw_template=TEMPLATE).from_filename(str(path))
    page = path.with_suffix(".html")
    page.write_text(body, encoding="utf-8")
    return page
