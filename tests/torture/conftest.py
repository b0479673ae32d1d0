"""The short form of each test runs with all tests, the long one by `make torture`."""

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def effort() -> Callable[[int, int], int]:
    """Return a function of two counts: it gives the first in the short form, the second in the long form."""
    return lambda short, long: long if "TORTURE" in os.environ else short
