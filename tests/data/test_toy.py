"""The toy dataset: separate regions, a reproducible result and the decoder's artefact."""

from itertools import pairwise

import torch

from detector.data.dataset import SPLITS, load_data
from detector.data.toy import OBJECT_CLASSES, REGIONS, SIDES, decode


def test_toy_dataset_is_used_where_kaggle_cannot_be_reached(toy):
    assert toy.name == "toy"
    assert toy.note.startswith("Kaggle cannot be reached (ConnectionError)") and "set CIFAKE_DIR to" in toy.note
    assert toy.object_classes == OBJECT_CLASSES
    assert toy.counts().sum(axis=1).to_dict() == {name: count for name, (_, count) in REGIONS.items()}
    for name in SPLITS:
        assert set(getattr(toy, name).source) == {"test" if name == "test" else "train"}


def test_regions_do_not_overlap():
    edges = [columns for columns, _ in REGIONS.values()]
    assert all(left[1] <= right[0] for left, right in pairwise(edges))
    assert all(end - start >= max(SIDES) for start, end in edges)


def test_toy_dataset_is_reproducible(toy):
    again = load_data()
    assert torch.equal(toy.test.pixels, again.test.pixels)


def test_decoder_leaves_a_checkerboard():
    decoded = decode(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8))
    cells = [decoded[0, 0, row::2, column::2].unique().tolist() for row in (0, 1) for column in (0, 1)]
    assert sorted(cells) == [[81], [99], [99], [121]]
