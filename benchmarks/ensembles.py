"""What several models say together: `python -m benchmarks.ensembles`.

Members are joined as they ship, each picture and its mirror image judged by all. The sets of members are scored on
validation into ensembles.csv; the best there is scored on the test folder too, whose first scoring is a line in
TEST_LEDGER.md, and is written to build/ensemble.safetensors.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd
from safetensors import safe_open

from benchmarks.seeds import WEIGHTS, accuracy
from detector.data import leak_free_rows, load_cifake_only
from detector.evaluation import note_first_look, wilson
from detector.models import MODELS_DIR, Detector, join_models, load_model, save_model

TABLE = Path(__file__).with_name("ensembles.csv")
ENSEMBLE = MODELS_DIR.parent / "build" / "ensemble.safetensors"
SHIPPED, SEEDS = MODELS_DIR / "cnn.safetensors", sorted(WEIGHTS.glob("cnn-*.safetensors"))
LITE2 = WEIGHTS / "lite2-128.safetensors"  # EfficientNet-Lite2 at 128 pixels, a pass: too slow to ship alone
MEMBERS = {
    "all seeds of cnn": [SHIPPED, *SEEDS],
    "all seeds of cnn, and Lite2": [SHIPPED, *SEEDS, LITE2],
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


def main() -> None:
    """Score all on validation and the best of them on the test folder, and print the table."""
    data = load_cifake_only()
    sets = {"validation": data.validation, "official test": data.test}
    sets["leak-free test"] = data.test[leak_free_rows(data.test.files)]
    rows = [(name, "validation", accuracy(written(paths), data.validation)) for name, paths in MEMBERS.items()]
    best = max(rows, key=lambda row: row[-1])[0]
    ensemble = written(MEMBERS[best])
    rows += [(best, set_, accuracy(ensemble, sets[set_])) for set_ in list(sets)[1:]]
    note_first_look(ENSEMBLE, "test", rows[-2][-1])
    table = pd.DataFrame(rows, columns=["members", "set", "accuracy"])
    table["n"] = [len(sets[set_]) for set_ in table["set"]]
    bounds = [wilson(round(row.accuracy * row.n), row.n) for row in table.itertuples()]
    table["low"], table["high"] = zip(*bounds, strict=True)
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.to_string())


if __name__ == "__main__":
    main()
