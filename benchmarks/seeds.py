"""Score frozen models of several seeds: `python -m benchmarks.seeds NAME WEIGHTS...`, a row each in seeds.csv.

The first scoring of each on the test folder is a line in TEST_LEDGER.md. The weights that do best on validation are
the ones that ship, as models/NAME.safetensors; the others are not kept.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from safetensors import safe_open
from torch import nn

from detector.data import Dataset, Images, leak_free_rows, load_data
from detector.evaluation import evaluate, note_first_look
from detector.measured import seed_table
from detector.models import load_model
from detector.prediction import predict

TABLE = Path(__file__).with_name("seeds.csv")


def accuracy(model: nn.Module, images: Images) -> float:
    """At threshold 1/2."""
    return evaluate(predict(model, images.pixels), images.labels).loc["accuracy", "value"]


def score(name: str, path: Path, data: Dataset) -> dict:
    """One model's accuracy on validation, the test folder, and its leak-free part."""
    model = load_model(path)
    with safe_open(path, "pt") as file:
        seed = json.loads(file.metadata()["recipe"])["seed"]
    row = {
        "model": name,
        "seed": seed,
        "validation": accuracy(model, data.validation),
        "official test": accuracy(model, data.test),
        "leak-free test": accuracy(model, data.test[leak_free_rows(data.test.files)]),
    }
    note_first_look(path, "test", row["official test"], name=name)
    return row


def main(name: str, paths: list[str]) -> None:
    """Score, replace the rows of this model, and print them."""
    data = load_data()
    rows = pd.DataFrame([score(name, Path(path), data) for path in paths])
    if TABLE.exists():
        rows = pd.concat([pd.read_csv(TABLE).query("model != @name"), rows])
    rows.to_csv(TABLE, index=False, float_format="%.6f")
    print(seed_table().to_string())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
