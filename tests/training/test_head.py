"""The head over groups: Fisher's discriminant for one group a class, and robustness against differences of groups."""

import numpy as np
import pytest

from detector.training.head import fit_head, group_moments

RNG = np.random.default_rng(0)


def sample(groups: dict[str, tuple[int, list[float]]], n: int = 400) -> tuple[np.ndarray, ...]:
    """Return features, labels, groups and images of Gaussian groups by label and centre, two views an image."""
    features = np.concatenate([RNG.normal(size=(n, len(centre))) + centre for _, centre in groups.values()])
    labels = np.repeat([label for label, _ in groups.values()], n)
    return features, labels, np.repeat(list(groups), n), np.arange(len(features)) // 2


def test_moments_are_those_of_numpy():
    features, labels, names, images = sample({"a": (0, [1.0, 2.0]), "b": (1, [0.0, 0.0])})
    moments = group_moments(features, labels, names, images)
    own = features[names == "a"]
    assert moments["a"].label == 0 and moments["a"].size == 200
    np.testing.assert_allclose(moments["a"].mean, own.mean(0))
    np.testing.assert_allclose(moments["a"].covariance, np.cov(own.T, bias=True))


def test_a_logit_of_zero_is_halfway_and_classes_are_separated():
    features, labels, names, images = sample({"a": (0, [-2.0, 0.0]), "b": (1, [2.0, 0.0])})
    moments = group_moments(features, labels, names, images)
    weights, bias = fit_head(moments)
    assert (moments["a"].mean + moments["b"].mean) / 2 @ weights + bias == pytest.approx(0)
    assert np.mean((features @ weights + bias > 0) == labels) > 0.95


def test_a_direction_in_which_the_groups_of_a_class_differ_gets_little_weight():
    """Both axes separate the classes equally well on average, but the second one differs between photo sources."""
    features, labels, names, images = sample({"a": (0, [-1.0, -4.0]), "b": (0, [-1.0, 2.0]), "c": (1, [1.0, 1.0])})
    weights, _ = fit_head(group_moments(features, labels, names, images))
    assert abs(weights[1]) < 0.5 * abs(weights[0])


def test_groups_that_are_left_out_have_no_influence():
    features, labels, names, images = sample({"a": (0, [0.0, 0.0]), "b": (1, [1.0, 0.0]), "c": (1, [0.0, 9.0])})
    moments = group_moments(features, labels, names, images)
    kept = names != "c"
    without = group_moments(features[kept], labels[kept], names[kept], images[kept])
    np.testing.assert_allclose(fit_head(moments, {"c"})[0], fit_head(without)[0])
