"""A linear head on a frozen backbone: features computed once, and a head that is the regression itself."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from detector import heads
from detector.heads import frozen_features, with_linear_head
from detector.prediction import predict_raw_features


def test_features_are_the_networks_and_computed_once(small_cnn, standin, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "PART", 40)
    pixels, expected = standin.train.pixels[:100], predict_raw_features(small_cnn, standin.train.pixels[:100])
    first, seconds = frozen_features(small_cnn, pixels, folder=tmp_path)
    torch.testing.assert_close(first, expected, rtol=1e-3, atol=1e-3)
    assert first.dtype == torch.float32
    computed = []
    compute = heads.predict_raw_features
    monkeypatch.setattr(
        heads, "predict_raw_features", lambda model, part: (computed.append(len(part)), compute(model, part))[1]
    )
    again, same_seconds = frozen_features(small_cnn, pixels, folder=tmp_path)
    assert torch.equal(first, again)
    assert seconds == same_seconds > 0
    assert computed == []
    small_cnn.head.weight.data.zero_()  # not what features depend on
    frozen_features(small_cnn, pixels[:90], folder=tmp_path)
    assert computed == [10]  # two whole parts are there
    small_cnn.stem[0].weight.data *= 2
    frozen_features(small_cnn, pixels, folder=tmp_path)
    assert computed == [10, 40, 40, 20]


def test_the_head_is_scikit_learns_regression_on_standardised_features(small_cnn, standin):
    images = standin.train[:400]
    features = predict_raw_features(small_cnn, images.pixels)
    features = features * torch.logspace(-1, 1, features.shape[1]) + 3  # badly scaled, off the middle
    model = with_linear_head(small_cnn, features, images.labels)
    scale = StandardScaler().fit(features.numpy())
    reference = LogisticRegression(C=heads.STRENGTH, max_iter=1000)
    reference.fit(scale.transform(features.numpy()), images.labels.numpy())
    expected = reference.decision_function(scale.transform(features.numpy()))
    with torch.no_grad():
        assert model.read(features).numpy() == pytest.approx(expected, abs=1e-3)
    assert not torch.equal(model.head.weight, small_cnn.head.weight)  # a copy
