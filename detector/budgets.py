"""What each budget of the report trains on, and how."""

from dataclasses import dataclass, field, replace

from detector.progress import InputError
from detector.training import Recipe


@dataclass(frozen=True)
class Budget:
    """A budget: training images used (None for all), the recipes of the two networks, and what it costs, in words.

    `network` holds the CNN's arguments.
    """

    images: int | None
    cnn: Recipe
    transfer: Recipe
    cost: str
    network: dict = field(default_factory=dict)


FASTEST = Recipe(epochs=1)  # the fewest passes whose mean over five seeds is above 96% on validation
FINE_TUNING = Recipe(epochs=1, batch_size=64, optimizer="adamw", learning_rate=1e-3, subjects=0.0)
DEFAULT = "standard"  # what the notebook is committed with, and what its prose describes
BUDGETS = {
    "quick": Budget(
        images=5000,
        cnn=Recipe(epochs=3, batch_size=64),
        transfer=replace(FINE_TUNING, batch_size=32, images=2000),
        cost="under 3 minutes on two CPU cores, on a sample",
    ),
    "standard": Budget(
        images=None,
        cnn=replace(FASTEST, rounds=4),
        transfer=replace(FINE_TUNING, images=30_000, rounds=4),
        cost="under 20 minutes on two CPU cores",
    ),
    "full": Budget(
        images=None,
        cnn=Recipe(epochs=8),
        network={"widths": (64, 128, 256), "mirror": True},
        transfer=replace(FINE_TUNING, rounds=4),
        cost="about an hour on two CPU cores; a training that was interrupted goes on where it was last saved",
    ),
}


def pick_budget(name: str) -> Budget:
    """The budget of that name. Raises InputError for another."""
    if name not in BUDGETS:
        raise InputError(f"there is no budget {name!r}: choose {', '.join(BUDGETS)}.")
    return BUDGETS[name]
