"""Training the native model: left-out logits, calibration, limits, and the model that a file gives back."""

import numpy as np
import pandas as pd
import pytest
import torch

from detector.core import files
from detector.core.console import UserError
from detector.models.encoder import FEATURES
from detector.models.weights import load_model, read_metadata
from detector.training import embeddings as module
from detector.training.embeddings import COLUMNS, Embeddings, embed_views, read_embeddings, write_embeddings
from detector.training.native import calibrate_head, left_out_logits, release_native, scored_views, training_moments


@pytest.fixture(scope="module")
def made():
    """Embeddings of four families and four photo sources, of drawings and overviews, that a direction separates."""
    rng = np.random.default_rng(0)
    groups = [f"{kind} {number}" for kind in ("family", "photos") for number in range(4)]
    rows = [
        (view, "FAKE" if group[0] == "f" else "REAL", group, group, f"{group}/{image}", "native", "photo", "500")
        for group in groups for image in range(8) for view in ("training", "evaluation")
    ]  # fmt: skip
    rows += [("overview", "no photo", "a", "a", f"d/{image}", "native", "no photo", "500") for image in range(30)]
    rows += [("overview", "REAL", "a", "a", f"p/{image}", "native", "photo", "500") for image in range(30)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    features = rng.normal(size=(len(table), FEATURES)).astype(np.float32)
    features[:, 0] += np.where(table["class"] == "FAKE", 5, -5)
    features[:, 1] += np.where(table["class"] == "no photo", 16, 0)
    return Embeddings(features, table)


def test_every_row_gets_a_logit_from_heads_without_its_group(made):
    scored = scored_views(made)
    logits = left_out_logits(training_moments(made), scored)
    assert not np.isnan(logits).any()
    assert ((logits > 0) == (scored.labels == 1)).mean() > 0.9
    without = left_out_logits(training_moments(made), scored, ("family 0",))
    assert (
        np.isnan(without[scored.groups == "family 0"]).all()
        and not np.isnan(without[scored.groups == "family 1"]).any()
    )


def test_calibration_restores_probabilities_and_spares_most_sources():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4000)
    groups = np.char.add(np.where(labels == 1, "family ", "photos "), rng.integers(0, 8, 8000).astype(str))
    logits = rng.normal(size=8000) + np.where(labels == 1, 1.0, -1.0)  # the true log odds are twice that
    calibration = calibrate_head(logits * 3 + 5, labels, groups)
    p = calibration.probability(logits * 3 + 5)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-2 * logits)), atol=0.03)
    rates = [np.mean(p[groups == name] >= calibration.high) for name in np.unique(groups[labels == 0])]
    assert np.mean(np.array(rates) <= 0.055) >= 0.85 and max(rates) > 0.03


def test_the_released_file_gives_the_model_back(made, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NATIVE_FEATURES", tmp_path / "features.safetensors")
    write_embeddings(made)
    path = release_native("native", tmp_path / "native.safetensors")
    model = load_model(path)
    scored = scored_views(made)
    with torch.inference_mode():
        logits = model.classify(torch.from_numpy(scored.features))
    assert ((logits >= 0).numpy() == (scored.labels == 1)).mean() > 0.9
    low, high = model.limits.tolist()
    assert 0 < low <= 0.5 <= high < 1
    drawing = torch.from_numpy(made.where("`class` == 'no photo'").features)
    photo = torch.from_numpy(scored.features)
    score = [(own @ model.photo_head[:-1] + model.photo_head[-1] > 0).float().mean() for own in (drawing, photo)]
    assert score[0] > 0.8 and score[1] < 0.05
    assert read_metadata(path)["reproducible"] == "python -m detector train native"


def test_a_file_of_embeddings_keeps_rows_and_four_bits(made, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NATIVE_FEATURES", tmp_path / "features.safetensors")
    write_embeddings(made)
    again = read_embeddings()
    pd.testing.assert_frame_equal(again.rows, made.rows, check_dtype=False)
    standard = (made.features - made.features.mean(0)) / made.features.std(0)
    error = np.abs(again.features - made.features) / made.features.std(0)
    assert (error[np.abs(standard) < module.CLIPPED] <= module.CLIPPED / module.MEAN_LEVEL / 2 + 1e-3).all()
    assert len(np.unique(again.features[:, 0])) <= 16


def test_a_missing_file_of_embeddings_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NATIVE_FEATURES", tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="Restore it from the repository"):
        read_embeddings()


def test_embeddings_are_kept_and_continued(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(files, "BUILD_DIR", tmp_path)
    monkeypatch.setattr(module, "CHUNK", 2)
    encoded = []

    def embed(crops: torch.Tensor) -> torch.Tensor:
        encoded.append(len(crops))
        return crops[:, 0, 0, :1].float().expand(-1, FEATURES)

    def views(row: int) -> list[Image.Image]:
        return [Image.new("RGB", (224, 224), (10 * row, 0, 0))] * (row + 1)

    rows = pd.DataFrame({"image": ["a", "b", "c"]})
    features, owner = embed_views(views, rows, "test", embed)
    assert features[:, 0].tolist() == [0, 10, 10, 20, 20, 20] and owner.tolist() == [0, 1, 1, 2, 2, 2]
    _, last = sorted((tmp_path / "native").iterdir())
    last.write_bytes(last.read_bytes()[:-30])  # as good as absent
    again, _ = embed_views(views, rows, "test", embed)
    assert np.array_equal(features, again) and encoded == [3, 3, 3]
    embed_views(views, rows[::-1], "test", embed)
    assert encoded == [3, 3, 3, 3, 3], "features of other rows were taken"
