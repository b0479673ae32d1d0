"""Properties of numbers for random inputs: predictions, metrics, splits and augmentation."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from detector.data import dataset, toy
from detector.data.dataset import SPLITS, Images, make_toy_dataset, split
from detector.data.transforms import augment, augment_and_mix, to_unit
from detector.inference.predict import predict, predict_features, predict_ood_scores
from detector.metrics import calibration, classification, intervals, summary
from detector.metrics.comparison import compare, holm

SEARCH = {"deadline": None, "derandomize": True, "database": None}
TOLERANCE = 1e-5
SEEDS = st.integers(0, 2**32 - 1)
SCORES = st.integers(0, 1024).map(lambda level: level / 1024)  # float32 holds them, and none is an inner edge of a bin
FEW = st.integers(0, 4).map(lambda level: level / 4)  # many ties
TOY_SPLIT = "c106768ee9883950"  # of the names, labels and object classes of all sets


@pytest.fixture
def examples(effort) -> Callable[[int, int], settings]:
    """Return a function of two counts, the numbers of examples in the short and the long form, to settings."""
    return lambda short, long: settings(max_examples=effort(short, long), **SEARCH)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with this number of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@st.composite
def images(draw, least: int, most: int) -> torch.Tensor:
    """Draw images of noise, of which some are constant or nearly so: uint8 (N, 3, 32, 32)."""
    count, rng = draw(st.integers(least, most)), np.random.default_rng(draw(SEEDS))
    low, width = rng.integers(0, 256, (count, 1, 1, 1)), rng.integers(0, 256, (count, 1, 1, 1))
    noise = low + rng.random((count, 3, 32, 32)) * width
    return torch.from_numpy(noise.clip(0, 255).astype(np.uint8))


@pytest.fixture
def outputs(small_cnn) -> Callable[..., torch.Tensor]:
    """Return a function of images to P(FAKE), the features and the OOD score of each, float32 (N, features + 2)."""
    small_cnn.feature_bank.normal_(generator=torch.Generator().manual_seed(0))
    small_cnn.feature_bank /= small_cnn.feature_bank.norm(dim=1, keepdim=True)

    def compute(pixels: torch.Tensor, **options) -> torch.Tensor:
        probability, ood = (function(small_cnn, pixels, **options) for function in (predict, predict_ood_scores))
        return torch.cat([probability[:, None], ood[:, None], predict_features(small_cnn, pixels, **options)], dim=1)

    return compute


def test_outputs_do_not_depend_on_batch_size_and_order(outputs, examples):
    @examples(6, 300)
    @given(images(1, 20), st.integers(1, 25), SEEDS)
    def check(pixels: torch.Tensor, batch_size: int, seed: int) -> None:
        alone = torch.cat([outputs(image[None]) for image in pixels])
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(outputs(pixels, batch_size=batch_size), alone, atol=TOLERANCE)
        assert torch.allclose(outputs(pixels[order], batch_size=batch_size), alone[order], atol=TOLERANCE)

    with threads(1):  # one image at a time is faster so
        check()


def test_outputs_do_not_depend_on_neighbours(outputs, examples):
    """The neighbours have the extreme values, so that statistics of the batch would change."""

    @examples(10, 500)
    @given(images(1, 3), st.lists(st.sampled_from([0, 255]), min_size=1, max_size=20), st.integers(0, 20))
    def check(pixels: torch.Tensor, levels: list[int], place: int) -> None:
        neighbours = torch.stack([torch.full((3, 32, 32), level, dtype=torch.uint8) for level in levels])
        together = torch.cat([neighbours[:place], pixels, neighbours[place:]])
        rows = slice(min(place, len(levels)), min(place, len(levels)) + len(pixels))
        assert torch.allclose(outputs(together)[rows], outputs(pixels), atol=TOLERANCE)

    check()


def test_outputs_do_not_depend_on_the_number_of_threads(outputs, examples):
    @examples(5, 200)
    @given(images(1, 70), st.integers(2, 4))
    def check(pixels: torch.Tensor, count: int) -> None:
        with threads(1):
            expected = outputs(pixels)
        with threads(count):
            assert torch.allclose(outputs(pixels), expected, atol=TOLERANCE)

    check()


@st.composite
def scored(draw, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels with at least `least` of each class, int64 (N,), and P(FAKE), float64 (N,), often with ties."""
    counts = draw(st.tuples(st.integers(least, 30), st.integers(least, 30)))
    values = st.lists(draw(st.sampled_from([SCORES, FEW])), min_size=sum(counts), max_size=sum(counts))
    return np.repeat([0, 1], counts), np.array(draw(values))


def test_metrics_equal_scikit_learns(examples):
    @examples(40, 2000)
    @given(scored())
    def check(data: tuple[np.ndarray, np.ndarray]) -> None:
        labels, scores = data
        predicted, options = scores >= 0.5, {"zero_division": np.nan}
        probabilities = torch.from_numpy(scores).float()
        table = classification.evaluate(probabilities, torch.from_numpy(labels))
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
            "precision": sklearn_metrics.precision_score(labels, predicted, **options),
            "recall": sklearn_metrics.recall_score(labels, predicted),
            "false_positive_rate": 1 - sklearn_metrics.recall_score(labels, predicted, pos_label=0),
            "f1": sklearn_metrics.f1_score(labels, predicted),
            "auc": sklearn_metrics.roc_auc_score(labels, scores),
        }
        assert table["value"].to_dict() == pytest.approx(expected, nan_ok=True)
        inside = (table["low"] <= table["value"] + 1e-9) & (table["value"] <= table["high"] + 1e-9)
        assert (inside | table["value"].isna()).drop("f1").all()  # that of F1 is a smoothed bootstrap
        confusion = classification.confusion(probabilities, torch.from_numpy(labels))
        assert (confusion.to_numpy() == sklearn_metrics.confusion_matrix(labels, predicted)).all()

    check()


def test_bootstrapped_metrics_equal_scikit_learns(examples):
    @examples(40, 2000)
    @given(scored(), st.floats(0.01, 0.99))
    def check(data: tuple[np.ndarray, np.ndarray], prevalence: float) -> None:
        labels, scores = data
        values = {name: metric(labels, scores) for name, metric in summary.BOOTSTRAPPED.items()}
        clipped = scores.clip(np.finfo(float).eps, 1 - np.finfo(float).eps)
        losses = -np.log(np.where(labels == 1, clipped, 1 - clipped))
        assert values["nll"] == pytest.approx(losses.mean())
        assert values["brier"] == pytest.approx(np.mean((scores - labels) ** 2))
        share, predicted = calibration_curve(labels, scores, n_bins=calibration.BINS)
        counts = np.histogram(scores, calibration.BINS, (0, 1))[0]
        assert values["ece"] == pytest.approx(np.abs(share - predicted) @ counts[counts > 0] / len(labels))
        recalls, precisions = [0.0], []
        for threshold in np.unique(scores)[::-1]:
            precisions.append(np.mean(labels[scores >= threshold]))
            recalls.append(np.mean(scores[labels == 1] >= threshold))
        assert values["average_precision"] == pytest.approx(np.diff(recalls) @ precisions)
        weights = np.where(labels == 1, prevalence / labels.mean(), (1 - prevalence) / (1 - labels.mean()))
        expected = sklearn_metrics.precision_score(labels, scores >= 0.5, sample_weight=weights, zero_division=np.nan)
        weighted = classification.precision_at_prevalence(labels, scores, prevalence=prevalence)
        assert weighted == pytest.approx(expected, nan_ok=True)

    check()


def test_points_of_the_roc_curve_equal_scikit_learns(examples):
    @examples(40, 2000)
    @given(scored(1), st.integers(0, 99).map(lambda percent: percent / 100))
    def check(data: tuple[np.ndarray, np.ndarray], fpr: float) -> None:
        labels, scores = data
        false, true, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
        expected = true[false <= fpr + 1e-9].max()
        assert classification.tpr_at_fpr(labels, scores, fpr=fpr) == pytest.approx(expected)

    check()


def test_the_error_of_the_auc_is_that_of_delongs_definition(examples):
    """The ranks give the variance of DeLong's structural components, which the definition takes over all pairs."""

    @examples(40, 2000)
    @given(scored())
    def check(data: tuple[np.ndarray, np.ndarray]) -> None:
        labels, scores = data
        fake, real = scores[labels == 1], scores[labels == 0]
        wins = (fake[:, None] > real).astype(float) + 0.5 * (fake[:, None] == real)  # (FAKE, REAL)
        auc, low, high = intervals.auc_interval(labels, scores)
        assert auc == pytest.approx(wins.mean())
        assert 0 <= low <= auc + 1e-9 and auc - 1e-9 <= high <= 1
        variance = wins.mean(1).var(ddof=1) / len(fake) + wins.mean(0).var(ddof=1) / len(real)
        if variance > 1e-12:
            half_width = stats.norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
            logits = np.log(auc / (1 - auc)) + np.array([-half_width, half_width])
            assert (low, high) == pytest.approx(tuple(1 / (1 + np.exp(-logits))), abs=1e-9)

    check()


def test_the_accuracy_of_the_most_confident_images_is_that_of_a_sorted_list(examples):
    @examples(40, 2000)
    @given(scored(1), st.floats(0.5, 1))
    def check(data: tuple[np.ndarray, np.ndarray], coverage: float) -> None:
        labels, scores = data
        order = sorted(range(len(labels)), key=lambda row: -abs(scores[row] - 0.5))
        correct = [(scores[row] >= 0.5) == labels[row] for row in order]
        kept = correct[: round(coverage * len(labels))]
        assert calibration.accuracy_at_coverage(labels, scores, coverage=coverage) == pytest.approx(np.mean(kept))
        curve = calibration.risk_coverage(torch.from_numpy(scores), torch.from_numpy(labels))
        expected = [1 - np.mean(correct[:count]) for count in range(1, len(labels) + 1)]
        assert curve["risk"].tolist() == pytest.approx(expected)

    check()


def test_paired_comparisons_are_antisymmetric_and_corrected_p_values_keep_their_order(examples):
    @examples(20, 500)
    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.lists(SCORES, min_size=1))
    def check(pairs: list[tuple[bool, bool]], p: list[float]) -> None:
        first, second = np.array(pairs).T
        one, other = compare(first, second, draws=100), compare(second, first, draws=100)
        assert one["difference"] == pytest.approx(-other["difference"]) == pytest.approx(first.mean() - second.mean())
        assert one["p"] == pytest.approx(other["p"])
        values, adjusted = np.array(p), holm(np.array(p))
        step_down = [min(1, max((len(p) - np.sum(values < v)) * v for v in values[values <= own])) for own in values]
        assert adjusted == pytest.approx(step_down)

    check()


def connected(count: int, pairs: list[tuple[int, int]]) -> list[set[int]]:
    """Return the groups of rows that chains of pairs link."""
    groups = {row: {row} for row in range(count)}
    for first, second in pairs:
        if groups[first] is not groups[second]:
            groups[first] |= groups[second]
            groups.update(dict.fromkeys(groups[second], groups[first]))
    return list({id(group): group for group in groups.values()}.values())


@st.composite
def linked(draw) -> tuple[int, list[tuple[int, int]]]:
    """Draw a number of rows, and pairs of them: some at random, some in a star and some in a chain."""
    count, rng = draw(st.integers(30, 300)), np.random.default_rng(draw(SEEDS))
    pairs = rng.integers(count, size=(draw(st.integers(0, count // 2)), 2))
    star = [(0, row) for row in range(1, draw(st.integers(1, count // 4)))]
    chain = [(row, row + 1) for row in range(count // 2, draw(st.integers(count // 2, 3 * count // 4)))]
    return count, [*map(tuple, pairs.tolist()), *star, *chain]


def test_no_group_is_in_two_sets_and_each_image_is_in_one(examples, monkeypatch):
    @examples(40, 2000)
    @given(linked(), st.floats(0.1, 0.6))
    def check(structure: tuple[int, list[tuple[int, int]]], share: float) -> None:
        count, pairs = structure
        groups = connected(count, pairs)
        assume(len(groups) >= 10)  # fewer cannot be split
        monkeypatch.setattr(dataset, "HELD_OUT", share * count)
        names, rows = np.arange(count).astype(str), torch.arange(count)
        data = Images(rows[:, None, None, None], rows % 2, rows % 5, names, names)
        listed = pd.DataFrame(np.array(pairs, int).reshape(-1, 2).astype(str), columns=["file", "duplicate_of"])
        sets = split(data, listed)
        parts = [set(part.files.astype(int).tolist()) for part in sets]
        assert sum(map(len, parts)) == count and set.union(*parts) == set(range(count))
        assert all(sum(bool(group & part) for part in parts) == 1 for group in groups)
        for part in sets:
            assert part.pixels.flatten().tolist() == part.files.astype(int).tolist() == sorted(part.files.astype(int))
        swapped = listed.iloc[::-1].rename(columns={"file": "duplicate_of", "duplicate_of": "file"})
        again = split(data, swapped)
        assert all(np.array_equal(*(part.files for part in pair)) for pair in zip(sets, again, strict=True))
        held_out = sum(any(group & part for part in parts[1:]) for group in groups)  # `split` takes a share of groups
        assert abs(held_out - share * len(groups)) <= 1

    check()


@st.composite
def batches(draw) -> torch.Tensor:
    """Draw a batch of square images: uint8 (B, 3, S, S)."""
    count, side = draw(st.integers(0, 6)), draw(st.integers(1, 40))
    return torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(draw(SEEDS))
    )


def test_augmentation_keeps_shape_type_and_values(examples):
    @examples(80, 3000)
    @given(batches(), SEEDS, st.integers(0, 8))
    def check(pixels: torch.Tensor, seed: int, max_translation: int) -> None:
        assume(max_translation < pixels.shape[-1])  # an image has no reflection farther away
        options, before = {"max_translation": max_translation}, pixels.clone()
        augmented = augment(pixels, torch.Generator().manual_seed(seed), **options)
        assert augmented.shape == pixels.shape and augmented.dtype == torch.float32
        assert torch.equal(pixels, before)
        for image, source in zip(augmented, to_unit(pixels), strict=True):
            colours = {tuple(colour) for colour in source.flatten(1).T.tolist()}
            assert {tuple(colour) for colour in image.flatten(1).T.tolist()} <= colours  # nothing is interpolated
        assert torch.equal(augment(pixels, torch.Generator().manual_seed(seed), **options), augmented)

    check()


def test_cutmix_keeps_shape_type_and_values(examples):
    @examples(80, 3000)
    @given(batches(), SEEDS, st.floats(0, 1))
    def check(pixels: torch.Tensor, seed: int, share: float) -> None:
        batch = augment(pixels, torch.Generator().manual_seed(seed), max_translation=0)
        rng = torch.Generator().manual_seed(seed)
        mixed, others, own = augment_and_mix(pixels, rng, slice(None), max_translation=0, cutmix=share)
        assert mixed.shape == batch.shape and mixed.dtype == own.dtype == torch.float32
        assert sorted(others.tolist()) == list(range(len(batch)))
        kept, pasted = (mixed == batch).all(1), (mixed == batch[others]).all(1)  # (B, S, S)
        assert (kept | pasted).all()
        assert ((own >= 0) & (own <= kept.float().mean((1, 2)) + 1e-6)).all()
        assert (1 - own <= pasted.float().mean((1, 2)) + 1e-6).all()

    check()


def digest(*values: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in values)).hexdigest()[:16]


def test_the_toy_dataset_and_its_split_do_not_depend_on_threads(monkeypatch):
    """The pixels are not pinned: another processor may round a value of the decoder to the next level."""
    splits, pixels = [], []
    for count in (1, 2):
        with threads(count):
            sets = make_toy_dataset("")
        parts = [getattr(sets, name) for name in SPLITS]
        names = ["\n".join(part.files).encode() for part in parts]
        labels = [tensor.numpy() for part in parts for tensor in (part.labels, part.object_class)]
        splits.append(digest(*(np.frombuffer(name, np.uint8) for name in names), *labels))
        pixels.append(digest(*(part.pixels.numpy() for part in parts)))
    assert splits == [TOY_SPLIT] * 2
    assert pixels[0] == pixels[1]
    monkeypatch.setattr(toy, "REGIONS", {name: (columns, 4) for name, (columns, _) in toy.REGIONS.items()})
    assert digest(toy.make_toy(1)["train"]["pixels"].numpy()) != digest(toy.make_toy(2)["train"]["pixels"].numpy())
