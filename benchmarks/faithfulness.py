"""Measure how faithful the attribution maps are to the released CNN.

Command: `python -m benchmarks.faithfulness`. Cost: about ten minutes on two CPU cores.
Question: which map shows best what the prediction depends on? Validation images are scored while the pixels with the
highest attribution are deleted or inserted. Three baseline maps ignore the model. The study also compares each map
with the map of a network with random weights, whose similarity should be low. After a new release of the CNN, delete
the rows first.
"""

import copy
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from benchmarks.study import open_study, study_parser
from detector.core.console import progress, run_command
from detector.evaluation.explanation import ATTRIBUTIONS, BASELINES, faithfulness, map_similarity, without_tta
from detector.evaluation.results import result_rows, slice_of
from detector.metrics.intervals import mean_interval, metric_table

BATCH = 100


def with_random_weights(model: nn.Module) -> nn.Module:
    """Return a copy of the model with freshly initialised layers."""
    torch.manual_seed(0)
    fresh = copy.deepcopy(model)
    for module in fresh.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return fresh


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the maps that have no rows yet, then print deletion, insertion and similarity of all."""
    study = open_study("faithfulness", study_parser("faithfulness", __doc__).parse_args(arguments))
    images = study.load_data().validation
    count, fewer = (8, 4) if study.smoke else (1000, 200)  # fewer for the maps of the random network
    pixels = images.pixels[np.random.default_rng(0).choice(len(images), count, replace=False)]
    model = without_tta(study.load_model("cnn"))
    random = with_random_weights(model)
    for name, attribute in progress({**ATTRIBUTIONS, **BASELINES}.items(), desc="measuring maps", unit=" maps"):
        key = {"experiment": "faithfulness", "model": "cnn", "set": "validation", "slice": slice_of(map=name)}
        if study.has(**key):
            continue
        maps = torch.cat([attribute(model, batch) for batch in pixels.split(BATCH)])
        measures = dict(faithfulness(model, pixels, maps))
        if name in ATTRIBUTIONS:
            others = torch.cat([attribute(random, batch) for batch in pixels[:fewer].split(BATCH)])
            measures["similarity_to_random_weights"] = map_similarity(maps[:fewer].abs(), others.abs())
        metrics = metric_table({measure: mean_interval(np.asarray(values)) for measure, values in measures.items()})
        study.add(result_rows(metrics, **key))
    print(study.results().pivot(index="slice", columns="metric", values="value").to_string())


if __name__ == "__main__":
    sys.exit(run_command(main))
