"""What each part of the fastest recipe buys, and what more training pictures buy: `make ablation`.

Each variant is trained with several seeds and scored on validation. Every run is a row of ablation.csv as soon as it
ends; started again, only what is missing is run (about forty minutes on two CPU cores in all).
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from detector.budgets import FASTEST
from detector.data import Dataset, load_cifake_only
from detector.measured import over_seeds, training_runs
from detector.models import CNN
from detector.progress import tell_errors
from detector.training import Recipe, train

RUNS = Path(__file__).with_name("ablation.csv")
SEEDS = range(3)
PARTS = {
    "the recipe": FASTEST,
    "AdamW for the kernels too": replace(FASTEST, optimizer="adamw", learning_rate=6e-3),  # AdamW's own best rate
    "no second target": replace(FASTEST, subjects=0.0),
    "neither": replace(FASTEST, optimizer="adamw", learning_rate=6e-3, subjects=0.0),
    "no averaging of the weights": replace(FASTEST, ema=0.0),
    "no moves": replace(FASTEST, shift=0),
}
REPEATS = (4, 16)


def variants(images: int) -> list[tuple[str, str, Recipe]]:
    """Every variant as (study, what, recipe)."""
    fewer = [(images // n, replace(FASTEST, epochs=n, images=images // n)) for n in REPEATS]
    counts = [(images, FASTEST), *fewer]
    return [("part", *variant) for variant in PARTS.items()] + [("images", str(n), recipe) for n, recipe in counts]


def run(data: Dataset, recipe: Recipe, name: str) -> float:
    """Validation accuracy at the end of the schedule."""
    torch.manual_seed(recipe.seed)
    _, history = train(CNN(), data.train, data.validation, recipe, name=name)
    return history["validation_accuracy"].iloc[-1]


def main() -> None:
    """Run what is missing; then print means and deviations."""
    data = load_cifake_only()
    rows = pd.read_csv(RUNS, dtype={"what": str}).to_dict("records") if RUNS.exists() else []
    done = {(row["study"], row["what"], row["seed"]) for row in rows}
    known: dict[Recipe, float] = {}  # the recipe itself stands in both studies
    for seed in SEEDS:
        for study, what, recipe in variants(len(data.train)):
            if (study, what, seed) not in done:
                seeded = replace(recipe, seed=seed)
                if seeded not in known:
                    known[seeded] = run(data, seeded, f"{what}, seed {seed}")
                rows.append({"study": study, "what": what, "seed": seed, "accuracy": round(known[seeded], 6)})
                pd.DataFrame(rows).to_csv(RUNS, index=False)
    for study in ("part", "images"):
        print(over_seeds(training_runs(study)).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
