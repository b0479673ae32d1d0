"""Write a released model as an ONNX file, which runs where PyTorch is not installed.

The file holds what happens between stored pixels and P(FAKE): scaling, resizing, normalisation, temperature and the
sigmoid of `predict.probabilities`. Decoding, frames, crops and JPEG compression stay outside, in modules of
`detector.data` that need only numpy and Pillow. CLIP's encoder is an ONNX file already, so that of `native` holds the
head alone: it takes the features of `models.encoder.encode`.
"""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from detector.core import files
from detector.core.console import UserError
from detector.core.extras import import_extra
from detector.core.labels import SIDE
from detector.data.transforms import to_unit
from detector.data.views import VIEW_SIDE
from detector.inference.native import AGREEMENT
from detector.inference.predict import probabilities
from detector.models.base import Detector
from detector.models.encoder import FEATURES
from detector.models.native import Native
from detector.models.weights import NATIVE_RELEASED, RELEASED, load_model

PIXELS, CROPS, HEAD = "pixels", "crops", "features"  # names of the inputs
INPUTS = {
    PIXELS: f"uint8 (N, 3, {SIDE}, {SIDE}): N images in RGB, each by detector.data.images.to_cifake_format",
    CROPS: f"uint8 (N, 3, {VIEW_SIDE}, {VIEW_SIDE}): N crops of one image in RGB, by detector.data.views.scored_crops",
    HEAD: f"float32 (N, {FEATURES}): CLIP's features of N crops of one image, each by detector.models.encoder.encode",
}
OUTPUTS = {
    "probability": "float32 (N,): P(FAKE) of each image or crop",
    "ood_score": "float32 (N,): distance of each image or crop from the training images, in [0, 2]",
}
NATIVE_OUTPUTS = OUTPUTS | {
    "image_probability": "float32 (): P(FAKE) of the image that all crops show, from the mean of their logits",
    "no_photo_score": "float32 (N,): for detector.data.views.overview, above 0 where the image shows no photo",
}
RULE = """FAKE where probability >= 0.5, else REAL.
Abstain unless max(probability, 1 - probability) > confidence_threshold and ood_score <= ood_threshold.
The check that the class is stable under small perturbations is not part of this file."""
NATIVE_RULE = """FAKE where image_probability >= high, REAL where image_probability <= low, abstain in between.
Abstain where less than a share `agreement` of the crops lies on that side of 0.5.
Abstain where the mean ood_score exceeds ood_threshold, and where the no_photo_score of the overview exceeds 0.
The check that the class is stable under small perturbations is not part of this file."""


class Graph(nn.Module):
    """What an ONNX file computes: the outputs, in the order of OUTPUTS or NATIVE_OUTPUTS, for a batch of its input."""

    def __init__(self, model: Detector):
        super().__init__()
        self.model = model

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        model = self.model
        if not isinstance(model, Native):
            pixels = to_unit(batch)
            return probabilities(model(pixels)), model.ood_score(pixels)
        features = batch if model.backbone is None else model.features(to_unit(batch))
        logits = model.classify(features)
        scores = model.knn_distance(features), probabilities(logits.mean()), model.no_photo_score(features)
        return probabilities(logits), *scores


def export(name: str, path: Path | None = None) -> Path:
    """Write the ONNX file of a released model and return its path, by default build/NAME.onnx.

    The metadata name the model, the SHA-256 of its weights file, the input, the outputs, and the rule of abstention
    with its thresholds. The size of the batch is free.

    Raises UserError if there is no such model, if a package is missing, or if the file cannot be written.
    """
    released = RELEASED | NATIVE_RELEASED
    if name not in released:
        raise UserError(f"There is no released model {name}. Choose one of {', '.join(released)}.")
    weights = files.model_file(name)
    model = load_model(weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    metadata = {"model": name, "description": released[name], "weights_sha256": sha256}
    return write_onnx(model, path or files.BUILD_DIR / f"{name}.onnx", metadata)


def write_onnx(model: Detector, path: Path, metadata: dict[str, str]) -> Path:
    """Write a model as an ONNX file with these metadata and a description of its use; return the path.

    Raises UserError if a package is missing, or if the file cannot be written.
    """
    import_extra("onnx")
    import_extra("onnxscript")
    outputs = NATIVE_OUTPUTS if isinstance(model, Native) else OUTPUTS
    source, example = _input(model)
    program = torch.onnx.export(
        Graph(model).eval(),
        (example,),
        input_names=[source],
        output_names=list(outputs),
        dynamic_shapes=({0: "N"},),
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(metadata | {"input": INPUTS[source], "outputs": json.dumps(outputs)})
    program.model.metadata_props.update(_decision(model))
    with files.atomic_write(path) as part:
        program.save(part, external_data=False)
    return path


def _input(model: Detector) -> tuple[str, torch.Tensor]:
    """Return the name of a model's input, and a batch of two."""
    if not isinstance(model, Native):
        return PIXELS, torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    if model.backbone is None:
        return HEAD, torch.zeros(2, FEATURES)
    return CROPS, torch.zeros(2, 3, VIEW_SIDE, VIEW_SIDE, dtype=torch.uint8)


def _decision(model: Detector) -> dict[str, str]:
    """Return the rule of abstention and its thresholds, as JSON."""
    thresholds = {"ood_threshold": model.ood_threshold.item()}
    if isinstance(model, Native):
        low, high = model.limits.tolist()
        thresholds |= {"low": low, "high": high, "agreement": AGREEMENT}
    else:
        thresholds["confidence_threshold"] = model.confidence_threshold.item()
    return {"rule": NATIVE_RULE if isinstance(model, Native) else RULE, "thresholds": json.dumps(thresholds)}
