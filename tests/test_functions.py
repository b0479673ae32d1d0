"""The face: what the report uses, no more, no less, from where it lives."""

import re

import nbformat

import functions
from detector.report import NOTEBOOK


def test_the_face_is_what_the_report_uses():
    source = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code")
    assert set(re.findall(r"\bfn\.(\w+)", source)) == set(functions.__all__)


def test_every_name_is_there_once():
    assert len(set(functions.__all__)) == len(functions.__all__)
    assert all(hasattr(functions, name) for name in functions.__all__)
    assert not [name for name in vars(functions) if not name.startswith("_") and name not in functions.__all__]
