"""The study of OOD scores: sets of OOD images, with and without other sources, and scores that separate them."""

import numpy as np
import pytest
import torch

from benchmarks.ood import fit_scores, from_sources, ood_images
from detector.core import files
from detector.data.dataset import concatenate
from detector.data.folders import load_folders
from detector.metrics.intervals import auc_against


def test_sources_of_a_class_are_pooled(toy):
    real, fake = toy.train.of_class(0)[:30], toy.train.of_class(1)[:30]
    pooled = concatenate(real[:10], real[10:], fake[:5], fake[5:])
    samples = from_sources(pooled, 20)
    assert list(samples) == ["REAL, other sources", "FAKE, other sources"]
    assert [len(pixels) for pixels in samples.values()] == [20, 20]
    chosen = samples["FAKE, other sources"]
    assert all((fake.pixels == image).flatten(1).all(1).any() for image in chosen)
    assert len(chosen.unique(dim=0)) == len(fake.pixels.unique(dim=0)[:20])
    assert [len(pixels) for pixels in from_sources(pooled, 100).values()] == [30, 30]


def test_sources_may_be_absent(tmp_path, monkeypatch, toy):
    monkeypatch.setattr(files, "SOURCES_DIR", tmp_path / "sources")
    assert from_sources(load_folders(files.SOURCES_DIR), 10) == {}
    assert list(from_sources(toy.train.of_class(0), 10)) == ["REAL, other sources"]


def test_ood_images_have_the_format_of_cifake_and_do_not_change(toy):
    known = toy.calibration.pixels[:4]
    images, again = ood_images(known, 4), ood_images(known, 4)
    for name, pixels in images.items():
        assert pixels.shape == (4, 3, 32, 32) and pixels.dtype == torch.uint8, name
        assert torch.equal(pixels, again[name]), name
    assert torch.equal(images["CIFAKE, upside down"].flip(2), known)


def test_scores_fitted_on_features_are_higher_for_noise(small_cnn, toy):
    train, known = toy.train[:400], toy.calibration.pixels[:100]
    small_cnn.feature_bank.copy_(torch.nn.functional.normalize(torch.rand_like(small_cnn.feature_bank), dim=1))
    scores = fit_scores(small_cnn, train)
    noise = ood_images(known, 50)["uniform noise"]
    values = {name: auc_against(score(known), score(noise))[0] for name, score in scores.items()}
    assert len(values) == 7
    assert min(values["Mahalanobis"], values["Gaussian mixture"]) > 0.9, values
    assert min(values["kNN, 1st of 10,000"], values["kNN, 50th of 10,000"]) > 0.5, values
    nearest, further = (scores[f"kNN, {rank} of 10,000"](train.pixels[:20]) for rank in ("1st", "50th"))
    assert nearest == pytest.approx(0, abs=1e-6)
    assert (further > nearest).all()
    assert all(np.isfinite(value) for value in values.values())


def test_mahalanobis_is_the_least_distance_to_a_class(small_cnn, toy):
    from sklearn.covariance import LedoitWolf

    from detector.inference.predict import predict_features

    train = toy.train[:400]
    features = predict_features(small_cnn, train.pixels).double().numpy()
    group = (train.object_class + 2 * train.labels).numpy()
    means = np.stack([features[group == number].mean(0) for number in range(4)])
    precision = LedoitWolf().fit(features - means[group]).precision_
    offsets = features[:20, None] - means[None]
    expected = np.einsum("ncf,fg,ncg->nc", offsets, precision, offsets).min(1)
    assert fit_scores(small_cnn, train)["Mahalanobis"](train.pixels[:20]) == pytest.approx(expected)
