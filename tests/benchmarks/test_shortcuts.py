"""The study of file properties: folds, the bootstrap over sources, and shortcut features planted in one class."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from benchmarks import shortcuts
from benchmarks.shortcuts import FOLDS, Fold, cross_validate, fold_numbers, mean_auc, stream_properties

LABELS = np.repeat([0, 1], 12 * FOLDS)
SOURCES = np.repeat(np.arange(4 * FOLDS), 6).astype(str)  # 2 * FOLDS of each class


def test_every_fold_has_both_classes_and_no_source_is_divided():
    folds = {}
    for seed in (0, 1):
        folds[seed] = fold_numbers(LABELS, SOURCES, seed)
        table = pd.crosstab(SOURCES, folds[seed])
        assert ((table > 0).sum(axis=1) == 1).all()
        assert (pd.crosstab(LABELS, folds[seed]) > 0).all(axis=None) and table.shape[1] == FOLDS
    assert not np.array_equal(folds[0], folds[1])


def test_a_property_that_separates_the_classes_is_found():
    features = np.random.default_rng(0).normal(size=(len(LABELS), 3))
    features[:, 1] += 3 * LABELS
    folds = list(cross_validate(features, LABELS, SOURCES, 0))
    assert mean_auc(folds, 10)[0] > 0.9
    drops = np.mean([fold.drops for fold in folds], axis=0)
    assert drops.argmax() == 1 and drops[1] > 0.2


def test_a_property_of_single_sources_does_not_generalise():
    """Each source has its own value, which tells nothing about the class of a source that was left out."""
    values = np.random.default_rng(0).permutation(4 * FOLDS)[SOURCES.astype(int), None].astype(float)
    folds = [fold for seed in (0, 1) for fold in cross_validate(values, LABELS, SOURCES, seed)]
    _, low, high = mean_auc(folds, 200)
    assert low < 0.5 < high


def test_the_mean_is_that_of_the_folds_aucs_and_sources_vary_it():
    rng = np.random.default_rng(0)
    folds = []
    for _ in range(4):
        labels, sources = np.repeat([1, 0], 20), np.repeat(["a", "b", "c", "d"], 10)
        scores = np.round(rng.normal(size=40) + labels + (sources == "a"), 1)  # some are equal; a is easier than b
        folds.append(Fold(labels, scores, sources, np.zeros(1)))
    mean, low, high = mean_auc(folds, 500)
    assert mean == pytest.approx(np.mean([roc_auc_score(fold.labels, fold.scores) for fold in folds]))
    of_a, of_b = (
        np.mean([roc_auc_score(fold.labels[kept], fold.scores[kept]) for fold in folds])
        for kept in (folds[0].sources != "b", folds[0].sources != "a")
    )
    assert of_b - 0.1 < low < mean < high < of_a + 0.1


def test_raw_files_have_the_size_of_the_original_and_views_that_of_the_model():
    def read(_row: tuple) -> bytes:
        stream = io.BytesIO()
        Image.effect_noise((256, 256), 60).convert("RGB").save(stream, "JPEG", quality=70)
        return stream.getvalue()

    rows = pd.DataFrame({"width": [4000], "height": [3000]})
    raw = stream_properties(rows, shortcuts.RAW, read).iloc[0]
    assert raw["width"] == 4000 and raw["file_quality"] == 70
    for stream in shortcuts.VIEWS:
        view = stream_properties(rows, stream, read).iloc[0]
        assert view["width"] == (112 if "control" in stream else 224) and np.isnan(view["file_quality"])
