"""A linear head on a frozen backbone: its features computed once and kept on disk, read by a logistic regression."""

import copy
import hashlib
import json
import time
from pathlib import Path

import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detector.checkpoints import CHECKPOINTS
from detector.devices import pick_device
from detector.models import Detector
from detector.prediction import predict_raw_features
from detector.weights import write_tensors

FEATURES = CHECKPOINTS / "features"
PART = 10_000  # pictures whose features are one file: what an interruption can lose
STRENGTH = 0.01  # inverse of the penalty: of 0.001 to 1 the least validation loss, of 16,000 pictures' features


def frozen_features(model: Detector, pixels: torch.Tensor, *, folder: Path | None = None) -> tuple[torch.Tensor, float]:
    """`Detector.features` of uint8 pixels (N, 3, 32, 32), and the seconds that they took when they were computed.

    Float32 (N, features) with the precision of float16. They are kept in `folder`, models/checkpoints/features/ unless
    told otherwise, under a digest of the model and the pictures, and only computed where they are not there.
    """
    start = copy.deepcopy(model).to(pick_device(), memory_format=torch.channels_last)
    weights = hashlib.sha256(json.dumps([model.config, str(pick_device())]).encode())  # whose seconds are kept too
    for name, tensor in model.state_dict().items():
        weights.update(b"" if name.startswith("head.") else tensor.cpu().numpy().tobytes())
    parts, seconds = [], 0.0
    for part in pixels.split(PART):
        digest = hashlib.sha256(weights.digest() + part.contiguous().numpy().tobytes()).hexdigest()[:12]
        features, took = _kept(start, part, (folder or FEATURES) / f"{digest}.safetensors")
        parts.append(features.float())
        seconds += took
    return torch.cat(parts), seconds


def _kept(model: Detector, pixels: torch.Tensor, path: Path) -> tuple[torch.Tensor, float]:
    """The features of a part and their seconds, from `path`, which is written first where it is not there."""
    if not path.exists():
        started = time.perf_counter()
        features = predict_raw_features(model, pixels).half()
        facts = {"seconds": str(time.perf_counter() - started)}
        write_tensors({"features": features}, path, facts)
    with safe_open(path, "pt") as file:
        return file.get_tensor("features"), float(file.metadata()["seconds"])


def with_linear_head(model: Detector, features: torch.Tensor, labels: torch.Tensor) -> Detector:
    """A copy of the model, ready to use, whose head is a logistic regression of labels (N,) on its features (N, F).

    These are standardised for it, which is folded into the head.
    """
    scale = StandardScaler()
    regression = LogisticRegression(C=STRENGTH, max_iter=1000)
    make_pipeline(scale, regression).fit(features.numpy(), labels.numpy())
    weight = regression.coef_ / scale.scale_  # (1, F)
    bias = regression.intercept_ - weight @ scale.mean_
    fitted = copy.deepcopy(model)
    with torch.no_grad():
        fitted.head.weight.copy_(torch.as_tensor(weight) * model.temperature)
        fitted.head.bias.copy_(torch.as_tensor(bias) * model.temperature)
    return fitted.eval()
