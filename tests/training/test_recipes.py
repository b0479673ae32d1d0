"""Budgets, and the released recipes against the released files."""

import pytest

from detector.core import files
from detector.core.console import UserError
from detector.models.weights import read_metadata
from detector.training.recipes import BUDGETS, DEFAULT_BUDGET, RELEASES, Recipe, pick_budget


@pytest.mark.parametrize("name", RELEASES)
def test_a_released_file_has_the_network_and_recipe_of_its_release(name):
    metadata = read_metadata(files.MODELS_DIR / f"{name}.safetensors")
    assert Recipe(**metadata["recipe"]) == RELEASES[name].recipe
    assert metadata["config"] == RELEASES[name].network().config


def test_budgets_are_picked_by_name():
    assert pick_budget(DEFAULT_BUDGET) is BUDGETS[DEFAULT_BUDGET]
    with pytest.raises(UserError, match="Choose one of quick, standard, full"):
        pick_budget("slow")
