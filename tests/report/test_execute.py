"""The report runs small, ends in one sentence when it fails or is interrupted, and is marked when it is another run."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from detector.core import files
from detector.core.console import UserError
from detector.report import execute
from detector.report.execute import make_report, mark_sections


def text_of(cell) -> str:
    return "\n".join(str(o.get("text", "")) + json.dumps(o.get("data", {}), ensure_ascii=False) for o in cell.outputs)


def test_the_report_runs_small(tmp_path, monkeypatch):
    """At `quick` on the toy dataset, as where Kaggle cannot be reached: to its end, and every section says so."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing listens there
    notebook, page = make_report("quick", tmp_path / "build")
    executed = nbformat.read(notebook, 4)
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert "This run uses the toy dataset" in "\n".join(text_of(cell) for cell in code)
    sections = [
        cell.source for cell in executed.cells if cell.cell_type == "markdown" and cell.source.startswith("## ")
    ]
    assert len(sections) > 10
    assert all("This run uses the toy dataset and the budget 'quick'" in source for source in sections)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert "iframe" not in json.dumps([cell.outputs for cell in code])
    images = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find_all("img")
    assert len(images) > 20
    assert all(len(image["alt"]) > 20 and "No description" not in image["alt"] for image in images)


def test_only_section_headings_are_marked():
    cells = [nbformat.v4.new_markdown_cell(text) for text in ("# Title", "## Section\n\nText.", "### Part")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    mark_sections(notebook, "Another run.")
    assert [("Another run." in cell.source) for cell in notebook.cells] == [False, True, False]
    assert notebook.cells[1].source.startswith("## Section\n\n> Another run.")
    assert notebook.cells[1].source.endswith("Text.")


@pytest.mark.usefixtures("toy")
def test_a_failing_cell_is_named_and_the_notebook_kept(tmp_path, monkeypatch):
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    broken.metadata["kernelspec"] = nbformat.read(files.NOTEBOOK, 4).metadata["kernelspec"]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    monkeypatch.setattr(files, "NOTEBOOK", tmp_path / "broken.ipynb")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        make_report("quick", tmp_path / "build")
    assert "ZeroDivisionError" in (tmp_path / "build" / "report.ipynb").read_text()


def test_only_cifake_at_the_default_budget_replaces_the_committed_report(tmp_path):
    before = files.NOTEBOOK.read_bytes()
    with pytest.raises(UserError, match="may not replace it"):
        make_report("quick", tmp_path, replace=True)
    assert files.NOTEBOOK.read_bytes() == before


def test_the_report_runs_on_this_python_whatever_kernels_are_installed(tmp_path, monkeypatch):
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "old", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    execute.execute(nbformat.v4.new_notebook(cells=[cell]))
    assert cell.outputs[0].text.strip() == sys.executable


def kernels_of(number: int) -> list[psutil.Process]:
    """Return the kernels that a process started, also after its end."""
    started = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("JPY_PARENT_PID") == str(number) and process.status() != psutil.STATUS_ZOMBIE:
                started.append(process)
    return started


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_report_in_the_background_stops_at_a_signal(tmp_path, number, status):
    """With one sentence, unless it is killed, and no kernel outlives it."""
    offline = {"KAGGLEHUB_CACHE": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    process = subprocess.Popen(
        [sys.executable, "-m", "detector", "report", "--budget", "quick"],
        cwd=files.ROOT,
        env=os.environ | offline,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as shells start a background job
    )
    with process:
        for line in process.stderr:
            if "cell" in line:  # it runs
                break
        assert kernels_of(process.pid)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in message and ("interrupted" in message or number == signal.SIGKILL)
    for _ in range(30):
        if not kernels_of(process.pid):
            break
        time.sleep(1)
    assert not kernels_of(process.pid)


@pytest.fixture
def interruptible():
    """Let Ctrl-C interrupt, which a background job ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_no_task_waiting_for_a_dead_kernel(monkeypatch, caplog):
    clean_up = NotebookClient._async_cleanup_kernel

    async def slowly(client):  # as on a busy machine: time enough to notice that the kernel is gone
        await clean_up(client)
        await asyncio.sleep(1)

    monkeypatch.setattr(NotebookClient, "_cleanup_kernel", run_sync(slowly))
    endless = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import time; time.sleep(60)")])
    threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        execute.execute(endless)
    gc.collect()  # a task whose exception nobody retrieved logs it when it is collected
    assert not caplog.records
