"""What several models say together: `python -m benchmarks.ensembles`.

A set's logit is the mean of its members', each of which judges the mirror image too. The sets are scored on validation
into ensembles.csv; the best there is scored on the test folder too, whose first scoring is a line in
TEST_LEDGER.md, and ships as models/ensemble.safetensors.
"""

import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open

from benchmarks.seeds import WEIGHTS
from detector.data import Dataset, Images, leak_free_rows, load_cifake_only
from detector.evaluation import note_first_look, share
from detector.models import Detector, join_models
from detector.prediction import predict_logits
from detector.progress import tell_errors
from detector.shipping import finish
from detector.weights import MODELS_DIR, digest_of, load_model

TABLE = Path(__file__).with_name("ensembles.csv")
ENSEMBLE = MODELS_DIR / "ensemble.safetensors"
SHIPPED, SEEDS = MODELS_DIR / "cnn.safetensors", sorted(WEIGHTS.glob("cnn-*.safetensors"))
COLUMNS = ["members", "set", "accuracy", "low", "high", "n"]
TRANSFER = MODELS_DIR / "transfer.safetensors"
LARGE = WEIGHTS / "lite2-224.safetensors"  # the same network at 224 pixels
MEMBERS = {
    "cnn alone": [SHIPPED],
    "transfer alone": [TRANSFER],
    "transfer at 224 pixels alone": [LARGE],
    "all seeds of cnn": [SHIPPED, *SEEDS],
    "cnn and transfer": [SHIPPED, TRANSFER],
    "all seeds of cnn, and transfer": [SHIPPED, *SEEDS, TRANSFER],
    "cnn, transfer, and transfer at 224 pixels": [SHIPPED, TRANSFER, LARGE],
    "all seeds of cnn, transfer, and transfer at 224 pixels": [SHIPPED, *SEEDS, TRANSFER, LARGE],
}


def written(paths: list[Path], data: Dataset) -> Detector:
    """The ensemble of these files, calibrated, as it is read from its own; not written again where it is there."""
    members = {path.stem: digest_of(path) for path in paths}
    if not ENSEMBLE.exists() or members_of(ENSEMBLE) != members:
        made = {"recipe": {"members": members}, "data": f"{data.name}, that of its members"}
        finish(join_models([load_model(path) for path in paths]), data, data, ENSEMBLE, made)
    return load_model(ENSEMBLE)


def members_of(path: Path) -> dict[str, str]:
    """The members of an ensemble by the stems of their files, with each file's `digest_of`."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["recipe"])["members"]


def right(logits: torch.Tensor, images: Images) -> np.ndarray:
    """Which pictures are judged right at threshold 1/2, bool (N,)."""
    return ((logits >= 0) == images.labels.bool()).numpy()


def main() -> None:
    """Score all on validation and the best of them on the test folder, and print the table."""
    data = load_cifake_only()
    logits = {path: predict_logits(load_model(path), data.validation.pixels) for path in set(chain(*MEMBERS.values()))}
    joined = {name: torch.stack([logits[path] for path in paths]).mean(0) for name, paths in MEMBERS.items()}
    rows = [(name, "validation", right(mean, data.validation)) for name, mean in joined.items()]
    best = max(rows, key=lambda row: row[2].mean())[0]
    test = right(predict_logits(written(MEMBERS[best], data), data.test.pixels), data.test)
    note_first_look(ENSEMBLE, "test", test.mean())
    leak_free = test[leak_free_rows(data.test.files)]
    rows += [(best, "official test", test), (best, "leak-free test", leak_free)]
    table = pd.DataFrame([(*row[:2], *share(row[2].sum(), len(row[2]))) for row in rows], columns=COLUMNS)
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
