"""What several models say together: `python -m benchmarks.ensembles`.

Members are joined as they ship, each picture and its mirror image judged by all. The sets of members are scored on
validation into ensembles.csv; the best there is scored on the test folder too, whose first scoring is a line in
TEST_LEDGER.md, and is written to build/ensemble.safetensors.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import safe_open

from benchmarks.seeds import WEIGHTS
from detector.data import Images, leak_free_rows, load_cifake_only
from detector.evaluation import note_first_look, share
from detector.models import MODELS_DIR, Detector, join_models, load_model, save_model
from detector.prediction import predict

TABLE = Path(__file__).with_name("ensembles.csv")
ENSEMBLE = MODELS_DIR.parent / "build" / "ensemble.safetensors"
SHIPPED, SEEDS = MODELS_DIR / "cnn.safetensors", sorted(WEIGHTS.glob("cnn-*.safetensors"))
COLUMNS = ["members", "set", "accuracy", "low", "high", "n"]
TRANSFER = MODELS_DIR / "transfer.safetensors"
MEMBERS = {
    "transfer alone": [TRANSFER],
    "cnn and transfer": [SHIPPED, TRANSFER],
    "all seeds of cnn": [SHIPPED, *SEEDS],
    "all seeds of cnn, and transfer": [SHIPPED, *SEEDS, TRANSFER],
}


def written(paths: list[Path]) -> Detector:
    """The ensemble of these files, as it is read from its own; not written again where it is there."""
    members = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths}
    if not ENSEMBLE.exists() or _members_of(ENSEMBLE) != members:
        made = {"recipe": {"members": members}, "data": "that of its members"}
        save_model(join_models([load_model(path) for path in paths]), ENSEMBLE, **made)
    return load_model(ENSEMBLE)


def _members_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["recipe"])["members"]


def right(model: Detector, images: Images) -> np.ndarray:
    """Which pictures a model is right about at threshold 1/2, bool (N,)."""
    return ((predict(model, images.pixels) >= 0.5) == images.labels.bool()).numpy()


def main() -> None:
    """Score all on validation and the best of them on the test folder, and print the table."""
    data = load_cifake_only()
    rows = [(name, "validation", right(written(paths), data.validation)) for name, paths in MEMBERS.items()]
    best = max(rows, key=lambda row: row[2].mean())[0]
    test = right(written(MEMBERS[best]), data.test)
    note_first_look(ENSEMBLE, "test", test.mean())
    leak_free = test[leak_free_rows(data.test.files)]
    rows += [(best, "official test", test), (best, "leak-free test", leak_free)]
    table = pd.DataFrame([(*row[:2], *share(row[2].sum(), len(row[2]))) for row in rows], columns=COLUMNS)
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.to_string())


if __name__ == "__main__":
    main()
