"""Words: no *never* word of tests/style.txt in identifiers, docstrings, prose, the notebook or the interface."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from detector.core import files
from detector.models.weights import RELEASED

LISTS = dict(
    line.split(":", 1) for line in Path(files.ROOT, "tests/style.txt").read_text().splitlines() if line[:1] != "#"
)
NEVER = LISTS["never"].split()
WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(NEVER)})(?:s|d|es|ing|er|ers)?(?![a-z])", re.I)
CODE = [
    *sorted((files.ROOT / "detector").rglob("*.py")),
    *sorted((files.ROOT / "benchmarks").glob("*.py")),
    *sorted(path for path in (files.ROOT / "tests").rglob("*.py") if path != Path(__file__)),
    files.ROOT / "functions.py",
]
PROSE = [files.README, files.MODEL_CARD, files.ROOT / "data/README.md", files.ROOT / "benchmarks/EXPERIMENTS.md"]
PROSE += [files.ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]


def found(text: str) -> list[str]:
    return WORD.findall(text)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(files.ROOT)))
def test_code_uses_the_fields_terms(path):
    """Identifiers, docstrings, comments, messages and the interface's texts."""
    assert found(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(files.ROOT)))
def test_prose_uses_the_fields_terms(path):
    assert found(path.read_text(encoding="utf-8")) == []


def test_the_notebook_uses_the_fields_terms():
    cells = nbformat.read(files.NOTEBOOK, 4).cells
    assert found("\n".join(cell.source for cell in cells)) == []
    outputs = [str(o.get("data", {}).get("text/html", "")) for cell in cells for o in cell.get("outputs", [])]
    assert found("\n".join(outputs)) == []


def test_no_title_begins_with_what():
    for cell in nbformat.read(files.NOTEBOOK, 4).cells:
        assert not re.search(r"^#+\s*(?:\d+\. )?what\b|title=\"what\b", cell.source, re.I | re.M)


def test_models_have_the_fields_names():
    assert not set(RELEASED) & set(LISTS["model names"].split())


def test_the_words_would_be_noticed():
    assert found("the makers' pictures") == ["makers", "pictures"]
    assert found("PatchCritic".replace("hC", "h_C")) == ["Critic"]
    assert found("steadily increasing pixels") == []


def test_every_module_parses_and_has_a_docstring():
    for path in CODE:
        if path.parts[-2:] != ("tests", "__init__.py"):
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
