"""The report itself: the committed one keeps its promises, a small one runs, bad input is told in a sentence."""

import asyncio
import gc
import hashlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading

import nbformat
import pandas as pd
import pytest
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from PIL import Image

import functions
from detector import report
from detector.budgets import DEFAULT
from detector.card import CARD, model_card
from detector.data import LEAKS
from detector.evaluation import LEDGER, RESULTS, read_records
from detector.presentation import write_shipped_table
from detector.progress import InputError
from detector.report import NOTEBOOK, ROOT, make_report
from detector.weights import SHIPPED

COMMITTED = nbformat.read(NOTEBOOK, 4)
CODE = [cell for cell in COMMITTED.cells if cell.cell_type == "code"]
NUMERAL = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?")


def text_of(cell) -> str:
    """All that a cell shows as text."""
    parts = []
    for output in cell.outputs:
        shown = {kind: text for kind, text in output.get("data", {}).items() if kind.startswith("text/")}
        best = next((shown[kind] for kind in ("text/html", "text/markdown", "text/plain") if kind in shown), "")
        parts += [output.get("text", ""), best]
    plain = re.sub(r"<[^>]+>", " ", re.sub(r"<style.*?</style>", "", "\n".join(parts), flags=re.S))
    return re.sub(r"(?<=\s)-(?=\d)", "", plain)  # prose tells a difference without its sign


def numerals(text: str) -> list[str]:
    return [match.replace(",", "") for match in NUMERAL.findall(text)]


def prose_of(cell) -> str:
    """A markdown cell without headings, code, sources, and names that end in a number."""
    return re.sub(r"`[^`]*`|^#.*$|arXiv \S+|\b[A-Z][A-Za-z-]*\d+\b|Diffusion 1\.4", "", cell.source, flags=re.M)


def rounds_to(shown: str, values: set[float]) -> bool:
    """Whether some value, or it in percent, rounds to the numeral as it is written."""
    digits = len(shown.partition(".")[2])
    return any(abs(round(scale * value, digits) - float(shown)) < 1e-9 for value in values for scale in (1, 100))


def unknown_numerals(notebook) -> list[str]:
    """Numerals of the prose that are in no output of their section.

    The text before the first section sums up: it may quote all outputs.
    """
    sections = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    sections[0] = sections[0] + [cell for cell in notebook.cells if cell.cell_type == "code"]
    unknown = []
    for cells in sections:
        shown = {float(n) for cell in cells if cell.cell_type == "code" for n in numerals(text_of(cell))}
        prose = " ".join(prose_of(cell) for cell in cells if cell.cell_type == "markdown")
        unknown += [numeral for numeral in numerals(prose) if not rounds_to(numeral, shown)]
    return unknown


def test_every_numeral_of_the_prose_was_computed():
    assert unknown_numerals(COMMITTED) == []


def test_the_check_of_numerals_can_fail():
    assert numerals("98.7% of 1,234 at 0.5, CIFAR-10, 32×32") == ["98.7", "1234", "0.5", "32", "32"]
    assert rounds_to("98.7", {0.98693})
    assert not rounds_to("98.8", {0.98693})
    altered = nbformat.from_dict(COMMITTED.copy())
    altered.cells = [*COMMITTED.cells, nbformat.v4.new_markdown_cell("## More\n\nIt was right 12.345% of the time.")]
    assert unknown_numerals(altered) == [*unknown_numerals(COMMITTED), "12.345"]


def test_no_place_in_the_prose_was_left_open():
    assert "@@" not in "".join(cell.source for cell in COMMITTED.cells)


def test_committed_report_was_executed_from_top_to_bottom():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))


def test_committed_report_has_no_error_warning_or_dead_frame():
    for cell in CODE:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            assert "iframe" not in json.dumps(output)
            assert "widget" not in json.dumps(list(output.get("data", {})))


def test_committed_report_is_small_and_on_cifake():
    assert NOTEBOOK.stat().st_size < 5e6
    assert any("CIFAKE version 3" in text_of(cell) for cell in CODE)


def test_the_committed_budget_is_the_default():
    (cell,) = [cell for cell in CODE if "parameters" in cell.metadata.get("tags", [])]
    assert f'BUDGET = "{DEFAULT}"' in cell.source
    assert not [cell for cell in CODE if "injected-parameters" in cell.metadata.get("tags", [])]


def test_cells_are_short():
    assert max(len(cell.source.splitlines()) for cell in CODE) <= 20


def test_the_report_runs_small(tmp_path, monkeypatch):
    """At `quick` on the stand-in, as where Kaggle is out of reach: to its end, saying what it is."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens there
    notebook, page = make_report("quick", tmp_path / "build")
    executed = nbformat.read(notebook, 4)
    shown = "\n".join(text_of(cell) for cell in executed.cells if cell.cell_type == "code")
    assert "This run is on the stand-in data" in shown
    assert "[stand-in, quick]" in shown
    assert page.stat().st_size > 1e5
    errors = [
        out for cell in executed.cells if cell.cell_type == "code" for out in cell.outputs if out.output_type == "error"
    ]
    assert not errors
    assert "iframe" not in json.dumps([cell.get("outputs") for cell in executed.cells])


def test_a_failing_cell_is_told_and_the_notebook_kept(tmp_path, monkeypatch, standin):
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    broken.metadata["kernelspec"] = COMMITTED.metadata["kernelspec"]
    nbformat.write(broken, tmp_path / "broken.ipynb")
    monkeypatch.setattr(report, "NOTEBOOK", tmp_path / "broken.ipynb")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        make_report("quick", tmp_path / "build")
    assert "ZeroDivisionError" in (tmp_path / "build" / "report.ipynb").read_text()


def shell(*arguments, **environment) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "detector", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_ctrl_c_is_one_sentence(tmp_path):
    offline = {"KAGGLEHUB_CACHE": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "detector", "report", "--budget", "quick"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | offline,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background has it ignored
    )
    for line in process.stderr:
        if "cell" in line:  # it runs
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told


@pytest.fixture
def heard():
    """Ctrl-C is heard, which a job in the background is told to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_leaves_nothing_waiting_for_a_dead_kernel(monkeypatch, caplog):
    clean_up = NotebookClient._async_cleanup_kernel

    async def slowly(client):  # as on a busy machine: time enough to notice that the kernel is gone
        await clean_up(client)
        await asyncio.sleep(2)

    monkeypatch.setattr(NotebookClient, "_cleanup_kernel", run_sync(slowly))
    endless = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import time; time.sleep(60)")])
    threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        report.execute(endless)
    gc.collect()  # a task whose exception nobody took tells of it when it goes
    assert not caplog.records


def test_a_folder_is_judged_into_a_table(tmp_path):
    (tmp_path / "in").mkdir()
    Image.effect_noise((64, 64), 50).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    done = shell("predict", str(tmp_path / "in"), "--csv", str(tmp_path / "out.csv"))
    assert done.returncode == 1
    assert "1 of 2 files could not be read" in done.stderr
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["file"].str[-5:].tolist() == ["a.png", "b.png"]
    assert table.loc[0, "verdict"] in ("REAL", "FAKE", "not sure")
    assert f"{table.loc[0, 'verdict']}\t{tmp_path / 'in' / 'a.png'}" in done.stdout
    assert table.loc[1, "verdict"] == "error" and "not a picture" in table.loc[1, "words"]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["report", "--budget", "huge"], {}, "no budget 'huge'"),
        (["report", "--budget", "quick"], {"CIFAKE_DIR": "/nowhere"}, "in '/nowhere': set CIFAKE_DIR"),
        (["predict", "/nowhere.png"], {}, "/nowhere.png: There is no such file"),
        (["evaluate", "nobody"], {}, "there is no nobody in"),
        (["predict", "picture.png", "--weights", "/nowhere.safetensors"], {}, "there is no model"),
    ],
)
def test_bad_input_is_one_sentence_and_a_status(arguments, environment, told):
    done = shell(*arguments, **environment)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_readme_has_the_figures_of_record(tmp_path):
    page = tmp_path / "README.md"
    page.write_text((ROOT / "README.md").read_text())
    write_shipped_table(page)
    assert page.read_text() == (ROOT / "README.md").read_text()
    assert CARD.read_text() == model_card()
    assert set(SHIPPED) == {path.stem for path in RESULTS.parent.glob("*.safetensors")}
    counts = {row["set"]: row["n"] for row in read_records() if row["metric"] == "accuracy"}
    assert counts["test"] == 20_000
    assert counts["leak_free"] == 20_000 - len(pd.read_csv(LEAKS))
    assert f"20,000 pictures {len(pd.read_csv(LEAKS)):,} are copies" in " ".join(page.read_text().split())


def test_the_records_are_those_of_the_committed_weights():
    """Their first look at the test folder stands in the ledger, and the committed report scored them again."""
    ledger = LEDGER.read_text()
    for weights in RESULTS.parent.glob("*.safetensors"):
        assert f"| {weights.stem} | `{hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}` | test |" in ledger
    (check,) = [text_of(cell) for cell in CODE if "check_slices" in cell.source]
    assert check.split().count("True") == len(list(RESULTS.parent.glob("*.safetensors")))
    assert "False" not in check


def test_every_name_in_the_examples_exists():
    examples = (ROOT / "README.md").read_text() + functions.__doc__
    assert set(re.findall(r"\bfn\.(\w+)", examples)) <= set(functions.__all__)
    for room, names in re.findall(r"from (detector\.\w+) import ([\w, ]+)", examples):
        assert all(hasattr(importlib.import_module(room), name) for name in names.split(", "))
