"""The sets: copies stay together, and nothing is lost."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector import data
from detector.data import Images, leak_free_rows, load_data, split
from detector.progress import InputError
from detector.standin import REGIONS, SIDES, decode


def images_of(pixels: torch.Tensor) -> Images:
    count = len(pixels)
    labels = torch.arange(count) % 2
    return Images(pixels, labels, torch.zeros(count, dtype=torch.int64), np.array([str(row) for row in range(count)]))


def noise(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_copies_never_straddle_a_split(monkeypatch):
    monkeypatch.setattr(data, "HELD_OUT", 100)
    chain = pd.DataFrame({"file": [str(row) for row in range(1, 600)], "copy_of": [str(row) for row in range(599)]})
    pairs = chain[np.arange(599) % 6 != 5]  # 100 groups of six, each linked only through its neighbours
    parts = split(images_of(noise(600)), pairs)
    groups = [set(part.files.astype(int) // 6) for part in parts]
    assert [len(part) for part in parts] == [498, 48, 54]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_split_keeps_every_picture_once(monkeypatch):
    monkeypatch.setattr(data, "HELD_OUT", 100)
    pixels = noise(500)
    parts = split(images_of(pixels), pd.DataFrame({"file": ["1"], "copy_of": ["2"]}))
    files = np.concatenate([part.files for part in parts])
    assert sorted(files.astype(int)) == list(range(500))
    for part in parts:
        rows = torch.tensor(part.files.astype(int))
        assert torch.equal(part.pixels, pixels[rows])
        assert torch.equal(part.labels, rows % 2)


def test_a_list_of_other_files_is_refused():
    with pytest.raises(InputError, match="train_copies"):
        split(images_of(noise(20)), pd.DataFrame({"file": ["1", "absent"], "copy_of": ["2", "3"]}))


def test_leak_free_rows_leave_out_what_the_list_names(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "LEAKS", tmp_path / "leaks.csv")
    data.LEAKS.write_text("file,copy_of,kind,distance\ntest/REAL/b.jpg,train/REAL/a.jpg,near,0.1\n")
    kept = leak_free_rows(np.array(["test/REAL/a.jpg", "test/REAL/b.jpg", "test/FAKE/b.jpg"]))
    assert kept.tolist() == [True, False, True]


def test_standin_where_kaggle_is_out_of_reach(standin):
    assert standin.name == "stand-in"
    assert "Kaggle cannot be reached" in standin.note
    assert standin.counts().sum(axis=1).to_dict() == {name: count for name, (_, count) in REGIONS.items()}


def test_standin_regions_do_not_touch():
    edges = [columns for columns, _ in REGIONS.values()]
    assert all(left[1] <= right[0] for left, right in pairwise(edges))
    assert all(end - start >= max(SIDES) for start, end in edges)


def test_standin_is_the_same_each_time(standin):
    again = load_data()
    assert torch.equal(standin.test.pixels, again.test.pixels)


def test_standin_decoder_leaves_a_checkerboard():
    decoded = decode(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8))
    cells = [decoded[0, 0, row::2, column::2].unique().tolist() for row in (0, 1) for column in (0, 1)]
    assert sorted(cells) == [[81], [99], [99], [121]]


def test_cifake_folder_end_to_end(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tiny_cifake))
    monkeypatch.setattr(data, "HELD_OUT", 8)
    monkeypatch.setattr(data, "TRAIN_COPIES", tmp_path / "train_copies.csv")
    with pytest.raises(InputError, match="is missing"):
        load_data()
    data.TRAIN_COPIES.write_text("file,copy_of\n")
    monkeypatch.setattr(data.cifake.load_cifake, "__defaults__", (tmp_path / "cache.safetensors",))
    loaded = load_data()
    assert loaded.name == "CIFAKE"
    for images in (loaded.train, loaded.validation, loaded.calibration, loaded.test):
        for picture, label, file in zip(images.pixels, images.labels, images.files, strict=True):
            assert data.CLASSES[label] in file
            assert np.array_equal(picture, np.asarray(Image.open(tiny_cifake / file)).transpose(2, 0, 1))
    deer = loaded.subject_names.index("deer")
    assert all(
        ("(5)" in file) == (subject == deer)
        for file, subject in zip(loaded.test.files, loaded.test.subjects, strict=True)
    )


def test_sample_draws_a_share_of_each_set(standin):
    drawn = standin.sample(600)
    assert len(drawn.train) == 600
    assert len(drawn.test) == len(standin.test) // 10
    assert standin.sample(None) is standin
    assert set(drawn.test.files) <= set(standin.test.files)
