"""A picture larger than 32 pixels: whole and scaled down, or its patches as they are? `python -m benchmarks.patches`.

The photographs and fakes of `data/sources/` that are kept for validation, as large as they are there, judged by the
shipped `wild`: once whole, as the demo does it, and once by the mean logit over a grid of 32×32 patches at native size.
A row a way and source in patches.csv: the share called FAKE at threshold 1/2, and for fakes the AUC against the
photographs by the same way.
"""

from pathlib import Path

import pandas as pd
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.decoding import jpeg_round_trip
from detector.evaluation import evaluate_source
from detector.models import MODELS_DIR, Detector, load_model
from detector.pictures import to_cifake, to_rgb
from detector.prediction import predict_logits, probabilities
from detector.sources import SIDE, SOURCES_DIR, split_files
from detector.unseen import list_sources, open_named

TABLE = Path(__file__).with_name("patches.csv")


def patches(image: Image.Image) -> torch.Tensor:
    """Its 32×32 patches side by side, from the upper left, in CIFAKE's form: uint8 (N, 3, 32, 32)."""
    image = to_rgb(image)
    corners = [
        (left, top)
        for top in range(0, image.height - SIDE + 1, SIDE)
        for left in range(0, image.width - SIDE + 1, SIDE)
    ]
    cut = [jpeg_round_trip(image.crop((left, top, left + SIDE, top + SIDE))) for left, top in corners]
    return torch.stack([TF.pil_to_tensor(patch) for patch in cut])


def logits_of(model: Detector, images: list[Image.Image]) -> dict[str, torch.Tensor]:
    """By way, (N,) each."""
    whole = predict_logits(model, torch.stack([to_cifake(image) for image in images]))
    parts = [patches(image) for image in images]
    by_patch = predict_logits(model, torch.cat(parts)).split([len(part) for part in parts])
    pooled = torch.stack([some.mean() for some in by_patch])
    return {"whole": whole, "patches": pooled, "mean of both": (whole + pooled) / 2}


def main() -> None:
    """Judge, write the table, and print it."""
    model, found = load_model(MODELS_DIR / "wild.safetensors"), {}
    for name, paths in list_sources(SOURCES_DIR).items():
        found[name] = logits_of(model, [open_named(path) for path in split_files(paths)["validation"]])
    rows = []
    for way in next(iter(found.values())):
        real = torch.cat([logits[way] for name, logits in found.items() if name.startswith("REAL")])
        for name, logits in found.items():
            label = int(name.startswith("FAKE"))
            figures = evaluate_source(probabilities(logits[way]), label, probabilities(real))
            rows.append(figures.reset_index().assign(source=name, way=way))
    table = pd.concat(rows)
    table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.pivot(index="way", columns=["source", "metric"], values="value").round(4).to_string())


if __name__ == "__main__":
    main()
