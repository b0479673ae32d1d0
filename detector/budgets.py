"""What each budget of the report trains on, and how."""

from dataclasses import dataclass

from detector.progress import InputError
from detector.training import Recipe


@dataclass(frozen=True)
class Budget:
    """A budget: training images used (None for all), the recipes of the two networks, and what it costs, in words."""

    images: int | None
    cnn: Recipe
    transfer: Recipe
    cost: str


DEFAULT = "standard"  # what the notebook is committed with, and what its prose describes
BUDGETS = {
    "quick": Budget(
        images=5000,
        cnn=Recipe(epochs=3, batch_size=64),
        transfer=Recipe(epochs=1, batch_size=32, learning_rate=1e-3, images=2000),
        cost="under 3 minutes on two CPU cores, on a sample",
    ),
    "standard": Budget(
        images=None,
        cnn=Recipe(epochs=5),
        transfer=Recipe(epochs=1, batch_size=64, learning_rate=1e-3, images=30_000),
        cost="under 20 minutes on two CPU cores",
    ),
    "full": Budget(
        images=None,
        cnn=Recipe(epochs=16),
        transfer=Recipe(epochs=1, batch_size=64, learning_rate=1e-3),
        cost="about an hour on two CPU cores; interrupted and started again, it goes on from the last finished epoch",
    ),
}


def pick_budget(name: str) -> Budget:
    """The budget of that name. Raises InputError for another."""
    if name not in BUDGETS:
        raise InputError(f"there is no budget {name!r}: choose {', '.join(BUDGETS)}.")
    return BUDGETS[name]
