"""The split: duplicates stay together, no image is lost, and it never changes."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import CLASSES, FAKE, REAL
from detector.data import dataset
from detector.data.dataset import Images, concatenate, leak_free_rows, load_cifake_only, load_data, split


def images_of(pixels: torch.Tensor) -> Images:
    count = len(pixels)
    labels, object_class = torch.arange(count) % 2, torch.zeros(count, dtype=torch.int64)
    return Images(pixels, labels, object_class, np.arange(count).astype(str), np.full(count, "train"))


def noise(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_images_are_selected_by_row_and_by_class():
    images = images_of(noise(10))
    assert images[2:4].files.tolist() == ["2", "3"]
    assert images[np.array([5, 1])].files.tolist() == ["5", "1"]
    assert torch.equal(images[images.labels == FAKE].pixels, images.pixels[1::2])
    assert images.of_class(REAL).files.tolist() == ["0", "2", "4", "6", "8"]
    assert len(images[:0]) == 0


def test_images_are_grouped_by_class_and_source():
    images = images_of(noise(6))
    images.source[:] = ["b", "b", "a", "a", "b", "b"]
    groups = images.by_source()
    assert list(groups) == [(REAL, "a"), (REAL, "b"), (FAKE, "a"), (FAKE, "b")]
    assert [group.files.tolist() for group in groups.values()] == [["2"], ["0", "4"], ["3"], ["1", "5"]]
    assert images[:0].by_source() == {}


def test_concatenate_keeps_the_order_of_rows():
    images = images_of(noise(6))
    joined = concatenate(images[4:], images[:2])
    assert joined.files.tolist() == ["4", "5", "0", "1"]
    assert joined.source.tolist() == ["train"] * 4
    assert torch.equal(joined.pixels, images.pixels[[4, 5, 0, 1]])


def test_duplicates_are_in_the_same_set(monkeypatch):
    monkeypatch.setattr(dataset, "HELD_OUT", 100)
    chain = pd.DataFrame({"file": np.arange(1, 600).astype(str), "duplicate_of": np.arange(599).astype(str)})
    pairs = chain[np.arange(599) % 6 != 5]  # 100 groups of six, each linked only through its neighbours
    sets = split(images_of(noise(600)), pairs)
    groups = [set(part.files.astype(int) // 6) for part in sets]
    assert [len(part) for part in sets] == [498, 48, 54]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_each_image_is_in_one_set(monkeypatch):
    monkeypatch.setattr(dataset, "HELD_OUT", 100)
    pixels = noise(500)
    sets = split(images_of(pixels), pd.DataFrame({"file": ["1"], "duplicate_of": ["2"]}))
    assert sorted(np.concatenate([part.files for part in sets]).astype(int)) == list(range(500))
    for part in sets:
        rows = torch.tensor(part.files.astype(int))
        assert torch.equal(part.pixels, pixels[rows])
        assert torch.equal(part.labels, rows % 2)


def test_a_list_of_other_files_is_rejected():
    with pytest.raises(UserError, match=r"train_duplicates\.csv names files"):
        split(images_of(noise(20)), pd.DataFrame({"file": ["1", "absent"], "duplicate_of": ["2", "3"]}))


def test_leak_free_rows_exclude_the_listed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAKS", tmp_path / "leaks.csv")
    test = np.array(["test/REAL/a.jpg", "test/REAL/b.jpg", "test/FAKE/b.jpg"])
    with pytest.raises(UserError, match=r"leaks\.csv is missing"):
        leak_free_rows(test)
    files.LEAKS.write_text("file,duplicate_of,duplicate_in,kind,distance\ntest/REAL/b.jpg,train/a.jpg,train,near,0.1\n")
    assert leak_free_rows(test).tolist() == [True, False, True]


def test_cifake_from_files_to_sets(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tiny_cifake))
    monkeypatch.setattr(dataset, "HELD_OUT", 8)
    monkeypatch.setattr(files, "CIFAKE_CACHE", tmp_path / "cache.safetensors")
    monkeypatch.setattr(files, "TRAIN_DUPLICATES", tmp_path / "train_duplicates.csv")
    with pytest.raises(UserError, match="is missing"):
        load_data()
    files.TRAIN_DUPLICATES.write_text("file,duplicate_of\n")
    loaded = load_cifake_only()
    assert loaded.name == "CIFAKE"
    for images in (loaded.train, loaded.validation, loaded.calibration, loaded.test):
        for pixels, label, file, source in zip(images.pixels, images.labels, images.files, images.source, strict=True):
            assert file.startswith(f"{source}/{CLASSES[label]}/")
            assert np.array_equal(pixels, np.asarray(Image.open(tiny_cifake / file)).transpose(2, 0, 1))
    deer = loaded.object_classes.index("deer")
    assert [("(5)" in file) for file in loaded.test.files] == (loaded.test.object_class == deer).tolist()


def test_cifake_only_rejects_the_toy_dataset(toy, monkeypatch):
    monkeypatch.setattr(dataset, "load_data", lambda: toy)
    with pytest.raises(UserError, match=r"needs CIFAKE.*set CIFAKE_DIR to"):
        load_cifake_only()


def test_sample_has_the_same_fraction_of_each_set(toy):
    sampled = toy.sample(600)
    assert len(sampled.train) == 600
    assert len(sampled.test) == len(toy.test) // 10
    assert toy.sample(None) is toy
    assert set(sampled.test.files) <= set(toy.test.files)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train", "6a54484eb5a49aea"), ("validation", "aaeebaa0ba4f9e5f"), ("calibration", "39772ca35923d3e1")],
)
def test_the_split_is_the_one_of_the_released_models(loaded_cifake, name, expected):
    """Another split would put images that the models were trained on into validation and calibration."""
    names = "\n".join(getattr(loaded_cifake, name).files)
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == expected


def test_cifakes_sources_are_its_folders(loaded_cifake):
    for name in dataset.SPLITS:
        assert set(getattr(loaded_cifake, name).source) == {"test" if name == "test" else "train"}
