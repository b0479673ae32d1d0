"""A picture larger than 32 pixels: scaled down as a whole, or its parts too? `python -m benchmarks.patches`.

The photographs and fakes of `data/sources/` that are kept for validation, judged by each shipped network by itself:
whole, by the mean logit of their parts, and by both as `verdicts.predict_views` joins them. All come to 64 pixels for
their parts, so that both classes have as many, at the same scale. A row a model, way and source in patches.csv: the
share called FAKE at threshold 1/2; for fakes the AUC against the photographs by the same way; and, of the two ways that
give a verdict, how often the rule gives one and how many of these are right.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from detector.cifake import CLASSES
from detector.evaluation import evaluate_source
from detector.metrics import verdict_rates
from detector.models import Detector, Ensemble
from detector.pictures import PARTS_OF, to_views
from detector.prediction import predict_logits, probabilities
from detector.progress import InputError, tell_errors
from detector.sources import SOURCES_DIR, split_files
from detector.unseen import list_sources, open_named
from detector.verdicts import judge_all, probs_of
from detector.weights import shipped_models

TABLE = Path(__file__).with_name("patches.csv")
ENOUGH = 500  # of a source: where there are twice as many or more, every second one or fewer
WHOLE, PARTS, BOTH = "whole", "parts", "whole and parts"


def judged(model: Detector, views: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, pd.DataFrame]]:
    """P(FAKE) (N,) by way, and the verdicts by way, of pictures by their views, uint8 (N, V, 3, 32, 32)."""
    count, each = views.shape[:2]
    verdicts = {WHOLE: judge_all(model, views[:, 0]), BOTH: judge_all(model, views.flatten(0, 1), [each] * count)}
    parts = predict_logits(model, views[:, 1:].flatten(0, 1)).view(count, each - 1).mean(1)
    probs = {way: probs_of(table) for way, table in verdicts.items()}
    return {WHOLE: probs[WHOLE], PARTS: probabilities(parts), BOTH: probs[BOTH]}, verdicts


def figures(model: Detector, sources: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    """A model's rows, on sources by name ('REAL/<source>') and their pictures' views."""
    found = {name: judged(model, views) for name, views in sources.items()}
    rows = []
    for way in (WHOLE, PARTS, BOTH):
        real = torch.cat([probs[way] for name, (probs, _) in found.items() if name.startswith("REAL")])
        for name, (probs, verdicts) in found.items():
            label = CLASSES.index(name.split("/")[0])
            tables = [evaluate_source(probs[way], label, real)]
            if way in verdicts:
                tables.append(verdict_rates(verdicts[way], torch.full((len(probs[way]),), label)))
            rows.append(pd.concat(tables).reset_index().assign(source=name, way=way))
    return pd.concat(rows)


def main() -> None:
    """Judge, write the table, and print it."""
    sources = {}
    for name, paths in list_sources(SOURCES_DIR).items():
        kept = split_files(paths)["validation"]
        images = [open_named(path) for path in kept[:: max(1, len(kept) // ENOUGH)]]
        if views := [to_views(image) for image in images if min(image.size) >= PARTS_OF]:
            sources[name] = torch.stack(views)
    if {name.split("/")[0] for name in sources} != set(CLASSES):
        raise InputError(f"{SOURCES_DIR} has no pictures of {PARTS_OF} pixels or more of both classes.")
    single = {name: model for name, model in shipped_models().items() if not isinstance(model, Ensemble)}
    table = pd.concat([figures(model, sources).assign(model=name) for name, model in single.items()])
    table.to_csv(TABLE, index=False, float_format="%.6f")
    shown = table.pivot(index=["model", "way"], columns=["source", "metric"], values="value")
    print(shown.round(4).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
