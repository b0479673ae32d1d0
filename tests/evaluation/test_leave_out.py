"""Leaving sources out: every pair once, by heads that never had the pair, and summaries by hand."""

import pytest

from benchmarks.native import smoke_embeddings
from detector.evaluation import leave_out as module
from detector.evaluation.leave_out import calibration_rows, leave_out, pair_metrics, per_image, slice_rows, summary_rows
from detector.training.native import scored_views, training_moments


@pytest.fixture(scope="module")
def scores():
    embeddings = smoke_embeddings()
    scored = scored_views(embeddings)
    return leave_out(training_moments(embeddings), scored, {"inverted": -scored.features})


def test_every_pair_is_measured_once(scores):
    pairs = pair_metrics(scores.query("variant == ''"))
    assert len(pairs) == 9 and not pairs.duplicated(["family", "photos"]).any()
    assert pairs["auc"].min() > 0.9
    assert pairs["coverage"].between(0, 1).all()


def test_left_out_groups_train_and_calibrate_no_head(monkeypatch):
    embeddings = smoke_embeddings()
    used = []
    original = module.fit_head
    monkeypatch.setattr(
        module, "fit_head", lambda moments, left_out: used.append(set(left_out)) or original(moments, left_out)
    )
    calibrated = []
    calibrate = module.calibrate_head
    monkeypatch.setattr(
        module,
        "calibrate_head",
        lambda logits, labels, groups: calibrated.append(set(groups)) or calibrate(logits, labels, groups),
    )
    scores = leave_out(training_moments(embeddings), scored_views(embeddings))
    for fold, rows in scores.groupby("fold"):
        assert set(rows["group"]) == used[fold]
        assert not set(rows["group"]) & calibrated[fold]


def test_a_variant_is_scored_by_the_same_heads(scores):
    rows = summary_rows(scores, "native").set_index(["slice", "metric"])["value"]
    assert rows["", "auc"] == pytest.approx(pair_metrics(scores.query("variant == ''"))["auc"].mean())
    assert rows["variant=inverted", "auc"] < 0.1


def test_one_row_an_image_and_slices_by_style_and_size(scores):
    images = per_image(scores)
    assert len(images) == scores["row"].nunique() and images["probability"].between(0, 1).all()
    rows = slice_rows(scores, "native").set_index(["slice", "metric"])
    fakes = images[images["label"] == 1]
    assert rows.loc[("style=photo", "recall"), "n"] == len(fakes)
    assert ("style=render", "recall") not in rows.index
    assert rows.loc[("side=1200 and more", "false_positive_rate"), "n"] == (images["label"] == 0).sum()


def test_calibration_over_all_images(scores):
    rows = calibration_rows(scores, "native").set_index("metric")
    images = per_image(scores)
    covered = (images["probability"] >= images["high"]) | (images["probability"] <= images["low"])
    assert rows.loc["coverage", "value"] == pytest.approx(covered.mean())
    assert 0 <= rows.loc["calibration_error", "value"] < 0.3
