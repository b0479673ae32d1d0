"""Optional packages: imported where they are needed, and named where they are missing."""

import json

import pytest

from detector.core import files
from detector.core.console import UserError
from detector.core.extras import import_extra


def test_an_installed_package_is_imported():
    assert import_extra("json") is json


def test_a_missing_package_is_an_error_with_its_remedy():
    with pytest.raises(UserError, match=r"The package no_such_package is missing.*-r requirements-scale.txt"):
        import_extra("no_such_package")
    assert (files.ROOT / "requirements-scale.txt").is_file()
