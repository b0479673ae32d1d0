"""Which map tells best where a verdict comes from? `python -m benchmarks.explanations`, ten minutes on two cores.

On validation pictures, for the shipped CNN: deletion and insertion of each map and of three that know nothing of the
model; and how like a map is, sign apart, to the one of a network with random weights, which it should not be. A row a
map and measure in explanations.csv, with the interval of the mean.
"""

import copy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import nn

from detector.data import load_cifake_only
from detector.evaluation import LEVEL
from detector.explanation import MAPS, PLAIN, faithfulness, map_similarity, one_view
from detector.measured import explanation_table
from detector.progress import progress, tell_errors
from detector.weights import MODELS_DIR, load_model

TABLE = Path(__file__).with_name("explanations.csv")
PICTURES = 1000
FEWER = 200  # of them for the likeness, which needs all maps anew
BATCH = 100


def with_random_weights(model: nn.Module) -> nn.Module:
    """A copy whose every layer is as it was before training."""
    torch.manual_seed(0)
    fresh = copy.deepcopy(model)
    for module in fresh.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return fresh


def mean_row(values: np.ndarray) -> dict[str, float]:
    """The mean with its interval by Student's t."""
    low, high = stats.t.interval(LEVEL, len(values) - 1, values.mean(), stats.sem(values))
    return {"value": values.mean(), "low": low, "high": high, "n": len(values)}


def main() -> None:
    """Measure every map, write the table, print it."""
    images, rows = load_cifake_only().validation, []
    pixels = images.pixels[np.random.default_rng(0).choice(len(images), PICTURES, replace=False)]
    model = one_view(load_model(MODELS_DIR / "cnn.safetensors"))
    random = with_random_weights(model)
    for name, make in progress({**MAPS, **PLAIN}.items(), desc="measuring maps", unit=" maps"):
        maps = torch.cat([make(model, batch) for batch in pixels.split(BATCH)])
        measures = dict(faithfulness(model, pixels, maps))
        if name in MAPS:
            others = torch.cat([make(random, batch) for batch in pixels[:FEWER].split(BATCH)])
            measures["like random weights"] = map_similarity(maps[:FEWER].abs(), others.abs())
        rows += [{"map": name, "measure": what, **mean_row(np.asarray(v))} for what, v in measures.items()]
    pd.DataFrame(rows).to_csv(TABLE, index=False, float_format="%.6f")
    print(explanation_table().to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
