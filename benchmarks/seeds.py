"""Train a shipped recipe with several seeds and score them: `python -m benchmarks.seeds NAME SEED...`.

Each seed is a row of seeds.csv as soon as it is scored, and its first scoring on the test folder a line in
TEST_LEDGER.md. The weights that do best on validation become models/NAME.safetensors. The others stay in
models/seeds/; a seed whose weights lie there, or ship, is scored as it is: delete them to train by a new recipe.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from safetensors import safe_open
from torch import nn

from detector.data import Dataset, Images, leak_free_rows, load_cifake_only
from detector.evaluation import evaluate, note_first_look
from detector.measured import seed_table
from detector.prediction import predict
from detector.progress import tell_errors
from detector.shipping import TRAININGS, train_shipped
from detector.training import Recipe
from detector.weights import MODELS_DIR, load_model

TABLE = Path(__file__).with_name("seeds.csv")
WEIGHTS = MODELS_DIR / "seeds"


def weights_of(name: str, seed: int, data: Dataset) -> Path:
    """The weights of a seed: those that ship, or from an earlier call, or trained now."""
    path, shipped = WEIGHTS / f"{name}-{seed}.safetensors", MODELS_DIR / f"{name}.safetensors"
    if shipped.exists() and recipe_of(shipped).seed == seed:
        return shipped
    if not path.exists():
        train_shipped(name, data, path, seed=seed)
    return path


def recipe_of(path: Path) -> Recipe:
    """The recipe that a file of weights was made by, as it says itself; what it does not know has its default."""
    with safe_open(path, "pt") as file:
        return Recipe(**json.loads(file.metadata()["recipe"]))


def accuracy(model: nn.Module, images: Images) -> float:
    """At threshold 1/2."""
    return evaluate(predict(model, images.pixels), images.labels).loc["accuracy", "value"]


def score(name: str, seed: int, path: Path, data: Dataset) -> dict:
    """One model's accuracy on validation, the test folder, and its leak-free part."""
    model = load_model(path)
    row = {
        "model": name,
        "seed": seed,
        "validation": accuracy(model, data.validation),
        "official test": accuracy(model, data.test),
        "leak-free test": accuracy(model, data.test[leak_free_rows(data.test.files)]),
    }
    note_first_look(path, "test", row["official test"], name=name)
    return row


def keep(row: dict) -> pd.DataFrame:
    """Put a row into the table, in place of what stood there for its model and seed; the table."""
    rows = pd.DataFrame([row])
    if TABLE.exists():
        others = pd.read_csv(TABLE)
        same = (others["model"] == row["model"]) & (others["seed"] == row["seed"])
        rows = pd.concat([others[~same], rows]).sort_values(["model", "seed"])
    rows.to_csv(TABLE, index=False, float_format="%.6f")
    return rows


def main() -> None:
    """Train what is missing, score, ship the best on validation, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(TRAININGS))
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    options = parser.parse_args()
    data, ships = load_cifake_only(), MODELS_DIR / f"{options.name}.safetensors"
    known = [recipe_of(ships).seed] if ships.exists() else []
    for seed in dict.fromkeys([*known, *options.seeds]):  # what ships has a say too
        rows = keep(score(options.name, seed, weights_of(options.name, seed, data), data))
    best = int(rows[rows["model"] == options.name].set_index("seed")["validation"].idxmax())
    weights, shipped = weights_of(options.name, best, data), MODELS_DIR / f"{options.name}.safetensors"
    if weights != shipped:
        WEIGHTS.mkdir(exist_ok=True)
        if shipped.exists():
            shipped.rename(WEIGHTS / f"{options.name}-{recipe_of(shipped).seed}.safetensors")
        weights.rename(shipped)
    print(f"{seed_table().to_string()}\nships: seed {best} of {options.name}")


if __name__ == "__main__":
    sys.exit(tell_errors(main))
