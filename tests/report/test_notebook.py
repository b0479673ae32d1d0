"""The committed report: executed from top to bottom, without errors, and every number of its prose was computed."""

import json
import re

import nbformat
import pytest

from detector.core import files
from detector.models.weights import RELEASED
from detector.training.recipes import DEFAULT_BUDGET

COMMITTED = nbformat.read(files.NOTEBOOK, 4)
CODE = [cell for cell in COMMITTED.cells if cell.cell_type == "code"]
NUMERAL = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?")


def text_of(cell) -> str:
    """Return all that a cell shows as text."""
    parts = []
    for output in cell.outputs:
        shown = {kind: text for kind, text in output.get("data", {}).items() if kind.startswith("text/")}
        best = next((shown[kind] for kind in ("text/html", "text/markdown", "text/plain") if kind in shown), "")
        parts += [output.get("text", ""), best]
    plain = re.sub(r"<[^>]+>", " ", re.sub(r"<style.*?</style>", "", "\n".join(parts), flags=re.S))
    return re.sub(r"(?<=\s)-(?=\d)", "", plain)  # prose states a difference without its sign


def numerals(text: str) -> list[str]:
    return [match.replace(",", "") for match in NUMERAL.findall(text)]


def prose_of(cell) -> str:
    """Return a Markdown cell without headings, code, sources, and names that end in a number."""
    names = r"`[^`]*`|^#.*$|arXiv \S+|\b[A-Z][A-Za-z-]*\d+\b|Diffusion 1\.4|sections? \d+"
    return re.sub(names, "", cell.source, flags=re.M)


def rounds_to(shown: str, values: set[float]) -> bool:
    """Return whether some value, or that value in percent, rounds to the numeral as it is written."""
    digits = len(shown.partition(".")[2])
    return any(abs(round(scale * value, digits) - float(shown)) < 1e-9 for value in values for scale in (1, 100))


def unknown_numerals(notebook) -> list[str]:
    """Return numerals of the prose that are in no output of their section.

    The text before the first section is a summary and may quote all outputs.
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
    altered.cells = [*COMMITTED.cells, nbformat.v4.new_markdown_cell("## More\n\nThe accuracy is 12.345%.")]
    assert unknown_numerals(altered) == [*unknown_numerals(COMMITTED), "12.345"]


def test_the_report_was_executed_from_top_to_bottom():
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))


def test_the_report_has_no_error_warning_or_dead_frame():
    for cell in CODE:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")
            assert "iframe" not in json.dumps(output)
            assert "widget" not in json.dumps(list(output.get("data", {})))


def test_the_report_is_small_and_on_cifake():
    assert files.NOTEBOOK.stat().st_size < 5e6
    assert any("CIFAKE version 3" in text_of(cell) for cell in CODE)


def test_the_committed_budget_is_the_default():
    (cell,) = [cell for cell in CODE if "parameters" in cell.metadata.get("tags", [])]
    assert f'BUDGET = "{DEFAULT_BUDGET}"' in cell.source
    assert not [cell for cell in CODE if "injected-parameters" in cell.metadata.get("tags", [])]


def test_cells_are_short():
    assert max(len(cell.source.splitlines()) for cell in CODE) <= 20


def test_the_report_reproduced_the_released_models():
    (check,) = [text_of(cell) for cell in CODE if "check_predictions" in cell.source]
    assert check.split().count("True") == len(RELEASED)
    assert "False" not in check


def is_appendix(cell) -> bool:
    return cell.source.startswith("## Appendix")


START = next(row for row, cell in enumerate(COMMITTED.cells) if is_appendix(cell))
PARTS = {"main": COMMITTED.cells[:START], "appendix": COMMITTED.cells[START:]}


@pytest.mark.parametrize(("part", "words", "outputs"), [("main", 3000, 45), ("appendix", 2000, 40)])
def test_the_report_can_be_read_in_fifteen_minutes(part, words, outputs):
    prose = " ".join(cell.source for cell in PARTS[part] if cell.cell_type == "markdown")
    assert len(prose.split()) <= words
    assert sum(len(cell.outputs) for cell in PARTS[part] if cell.cell_type == "code") <= outputs


def paragraphs() -> list[str]:
    """Return the paragraphs of the prose, without headings, emphasis and links."""
    prose = [re.sub(r"^#.*$", "", cell.source, flags=re.M) for cell in COMMITTED.cells if cell.cell_type == "markdown"]
    kept = [text for cell in prose for text in cell.split("\n\n") if text.strip() and "](#" not in text]
    return [re.sub(r"[*_>]", "", text) for text in kept]


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!:])\s+(?=[A-Z`])", text.strip()) if part]


def test_sentences_are_short():
    lengths = [len(sentence.split()) for text in paragraphs() for sentence in sentences(text)]
    assert sum(lengths) / len(lengths) <= 18
    assert max(lengths) <= 40


def test_a_paragraph_has_at_most_four_numbers():
    for text in paragraphs():
        assert len(numerals(re.sub(r"`[^`]*`|Diffusion 1\.4|\bsections? \d+|\b32×32\b", "", text))) <= 4, text


def test_every_figure_has_an_alternative_text():
    outputs = [output for cell in CODE for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(outputs) > 20
    assert all(len(output.metadata["image/png"]["alt"]) > 20 for output in outputs)


def test_the_contents_lead_to_every_section():
    (contents,) = [cell.source for cell in COMMITTED.cells if "**Contents.**" in cell.source]
    headings = [cell.source[3:].splitlines()[0] for cell in COMMITTED.cells if cell.source.startswith("## ")]
    assert re.findall(r"\]\(#([^)]*)\)", contents) == [heading.replace(" ", "-") for heading in headings]
