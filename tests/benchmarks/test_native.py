"""The study of left-out sources: the treated images."""

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks import native
from benchmarks.native import TREATMENTS, site_features, smoke_embeddings
from detector.training.native import scored_views


def test_treatments_change_what_they_name():
    image = Image.effect_noise((256, 256), 60).convert("RGB")
    assert TREATMENTS["none"](image) is image
    assert TREATMENTS["screenshot"](image).size == (166, 166)
    errors = [
        np.abs(np.asarray(TREATMENTS[name](image), float) - np.asarray(image)).mean() for name in ("JPEG 82", "JPEG 65")
    ]
    assert 0 < errors[0] < errors[1]


def test_large_originals_are_scored_by_their_reduced_copy(monkeypatch):
    scored = scored_views(smoke_embeddings())
    image = scored.rows["image"].iloc[0]
    manifest = pd.DataFrame(
        {"file": ["full", "reduced"], "variant": ["native", "downscaled"], "blob": image, "part": "", "source": "s"}
    )
    monkeypatch.setattr(native, "read_manifest", lambda: manifest)
    monkeypatch.setattr(native, "image_keys", lambda rows: rows["blob"])
    opened = []
    monkeypatch.setattr(
        native, "open_crop", lambda row: opened.append(row.file) or torch.zeros(3, 256, 256, dtype=torch.uint8)
    )

    def embed_views(views, rows, name):
        assert [len(views(row)) for row in range(len(rows))] == [2]
        return np.ones((len(rows), scored.features.shape[1]), np.float32), np.arange(len(rows))

    monkeypatch.setattr(native, "embed_views", embed_views)
    features = site_features(scored)
    assert set(opened) == {"reduced"} and list(features) == list(TREATMENTS)
    assert (features["none"][0] == 1).all() and np.isnan(features["none"][1:]).all()
