"""Leaving sources out at native resolution: views, the head's weights, the threshold, and the pairs by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import native
from benchmarks.native import (
    development_rows,
    embeddings,
    evaluation_view,
    fit_head,
    leave_one_out,
    smoke_data,
    summary_rows,
    training_view,
    worst_source_threshold,
)
from detector.core import files
from detector.data.native import HELD_OUT


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(256, 256), (256, 200), (150, 256), (100, 100)])
def test_every_view_has_the_encoders_input_size(size):
    rng = np.random.default_rng(0)
    assert {training_view(noise(*size), rng).size for _ in range(20)} == {(224, 224)}
    assert evaluation_view(noise(*size), rng).size == (224, 224)


def test_the_evaluation_view_is_the_unscaled_centre():
    image = noise(256, 256)
    assert np.array_equal(evaluation_view(image, None), image.crop((16, 16, 240, 240)))


def test_the_same_seed_gives_the_same_training_view():
    image = noise(256, 256)
    one, again, other = (training_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_embeddings_are_kept_and_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path)
    monkeypatch.setattr(native, "open_crop", lambda row: torch.full((3, 256, 256), int(row.level), dtype=torch.uint8))
    encoded = []

    def encode(crops: torch.Tensor) -> torch.Tensor:
        encoded.append(len(crops))
        return crops[:, 0, 0, 0].float()[:, None].expand(-1, native.FEATURES)

    manifest = pd.DataFrame({"level": [10, 20, 30]})
    first = embeddings(manifest, "evaluation", evaluation_view, encode=encode)
    assert first[:, 0].tolist() == [10, 20, 30]
    path = tmp_path / "native" / "evaluation.npy"
    table = np.load(path)
    table[1] = np.nan
    np.save(path, table)
    again = embeddings(manifest, "evaluation", evaluation_view, encode=encode)
    assert np.array_equal(first, again)
    assert encoded == [3, 1]


def test_classes_weigh_the_same_and_a_large_group_weighs_less_for_each_image():
    """With a constant feature only the intercept is fitted: it is 0 where the classes weigh the same."""
    labels = np.repeat([0, 1], [90, 10])
    head = fit_head(np.ones((100, 1)), labels, np.repeat(["a", "b"], [90, 10]), 1.0)
    assert head(np.ones((1, 1)))[0] == pytest.approx(0, abs=1e-3)


def test_the_threshold_spares_the_photos_of_the_worst_source():
    train, scored, labels, groups = smoke_data()
    scored[groups == "source e"] += 3  # these photos resemble fakes
    threshold = worst_source_threshold(train, scored, labels, groups, 0.01)
    easier = groups != "source e"
    assert threshold > worst_source_threshold(train[:, easier], scored[easier], labels[easier], groups[easier], 0.01)


def test_every_pair_is_left_out_once_and_summarised():
    pairs = leave_one_out(*smoke_data(), 0.01)
    assert len(pairs) == 9 and not pairs.duplicated(["family", "photos"]).any()
    assert pairs["auc"].between(0.5, 1).all()
    rows = summary_rows(pairs, "head").set_index(["slice", "metric"])["value"]
    assert rows["", "auc"] == pytest.approx(pairs["auc"].mean())
    of_one = pairs.loc[pairs["photos"] == "source e", "false_positive_rate"].mean()
    assert rows["photos=source e", "false_positive_rate"] == pytest.approx(of_one)


def test_held_out_sources_and_downscaled_files_take_no_part():
    names = ["nature_r50_phones", "food_phones", "dalle2", "flux_dev_artists", "food_phones"]
    manifest = pd.DataFrame({"source": names, "blob": list("abcde"), "part": ""})
    manifest["class"] = ["REAL", "REAL", "FAKE", "FAKE", "REAL"]
    manifest["family"] = ["pro", "phone", "dalle", "flux", "phone"]
    manifest["variant"] = ["native"] * 4 + ["downscaled"]
    rows = development_rows(manifest)
    assert rows["source"].tolist() == ["food_phones", "flux_dev_artists"]
    assert rows["family_group"].tolist() == ["food_phones", "small families"]
    assert {"nature_r50_phones", "dalle2"} <= {name for group in HELD_OUT.values() for name in group}
