"""Packages that only some commands need: present, or one sentence with the command that installs them."""

import json

import pytest

from detector.core.console import UserError
from detector.core.extras import import_extra


def test_an_installed_package_is_imported():
    assert import_extra("json") is json


def test_a_missing_package_is_one_sentence_with_the_command():
    message = r"no_such_package is missing\. Install it: python -m pip install -r requirements-scale\.txt\.$"
    with pytest.raises(UserError, match=message):
        import_extra("no_such_package")
