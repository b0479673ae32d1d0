"""The lists of duplicates: which test files are excluded and why; on CIFAKE, the committed lists are correct."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from detector.core import files
from detector.data.dataset import Images, concatenate, leak_free_rows
from detector.data.duplicates import WIDE, build_index, exact_groups, search
from detector.eda import leakage


def pairs_of(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Pairs as `find_duplicates` returns them, from (file, duplicate_of, distance)."""
    frame = pd.DataFrame(rows, columns=["file", "duplicate_of", "distance"])
    frame["set"], frame["duplicate_in"] = (frame[name].str.split("/").str[0] for name in ("file", "duplicate_of"))
    return frame.assign(**{"class": "REAL", "kind": "near"})


PAIRS = pairs_of(
    ("test/b", "train/x", 0.1),
    ("test/b", "train/a", 0.05),
    ("test/c", "test/b", 0.01),  # linked to train through b
    ("test/e", "test/d", 0.02),
    ("test/f", "test/e", 0.03),
    ("test/h", "test/g", 0.03),
    ("train/y", "train/x", 0.0),
)


def test_leaks_are_linked_to_train_or_repeat_a_test_image():
    found = leakage.leaks(PAIRS)
    assert found[["file", "duplicate_of", "duplicate_in"]].to_numpy().tolist() == [
        ["test/b", "train/a", "train"],
        ["test/c", "test/b", "test"],
        ["test/e", "test/d", "test"],
        ["test/f", "test/e", "test"],
        ["test/h", "test/g", "test"],
    ]
    counts = leakage.count_leaks(found)
    assert counts.loc["REAL"].to_dict() == {"near in test": 4, "near in train": 1, "all": 5}


def test_pairs_are_counted_by_set_and_distance():
    counts = leakage.count_duplicates(PAIRS).loc[("REAL", "near")]
    assert counts.to_dict() == {"within train": 1, "across train and test": 2, "within test": 4}
    assert leakage.leaks_by_distance(PAIRS, (0.01, 0.05))["REAL"].tolist() == [0, 1]


def test_found_leaks_are_compared_with_the_committed_list(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LEAKS", tmp_path / "leaks.csv")
    leakage.leaks(PAIRS)[1:].to_csv(files.LEAKS, index=False)
    table = leakage.compare_leaks(leakage.leaks(PAIRS)[:3])
    assert table.loc["test files"].tolist() == [3, 4, 2, 1, 2]


def test_train_duplicates_are_the_pairs_within_train():
    found = leakage.train_duplicates(PAIRS)
    assert found.to_numpy().tolist() == [["train/y", "train/x", "near", 0.0]]
    assert found.columns.tolist() == ["file", "duplicate_of", "kind", "distance"]


@pytest.fixture(scope="module")
def planted(toy) -> Images:
    """Images of the toy test set, and ten of them again in the train folder: five exact duplicates, five flipped."""
    base = toy.test[::9]
    base = replace(base, files=np.array([f"test/{row}" for row in range(len(base))]))
    names = np.array([f"train/{row}" for row in range(10)])
    duplicates = replace(base[:10], files=names, source=np.full(10, "train"))
    duplicates.pixels[5:] = duplicates.pixels[5:].flip(3)
    return leakage.order_images(base, duplicates)


@pytest.fixture(scope="module")
def indexes(planted) -> leakage.Indexes:
    return leakage.index_classes(planted)


def test_planted_duplicates_are_found(planted, indexes):
    assert planted.source[:10].tolist() == ["train"] * 10
    pairs = leakage.find_duplicates(planted, indexes)
    across = pairs[pairs["duplicate_in"] == "train"]
    assert (across["set"] == "test").all()
    assert set(zip(across["file"], across["duplicate_of"], across["kind"], strict=True)) >= {
        (f"test/{row}", f"train/{row}", "exact" if row < 5 else "flipped") for row in range(10)
    }
    assert leakage.count_duplicates(pairs)["across train and test"].sum() == len(across)
    same_row = across["file"].str.removeprefix("test/") == across["duplicate_of"].str.removeprefix("train/")
    samples = leakage.sample_pairs(across[same_row], planted, count=2)
    assert all(name.split(", ")[1] in ("exact", "flipped") for name in samples)
    for pair in torch.cat(list(samples.values())):
        assert torch.equal(pair[0], pair[1])  # flipped images are flipped back


def test_duplicates_across_classes_are_counted(planted, indexes):
    real = planted[(planted.labels == 0).numpy() & (planted.source == "test")][:3]
    images = concatenate(planted, replace(real, labels=real.labels + 1, source=np.full(3, "train")))
    before = leakage.cross_class_duplicates(planted, indexes)
    assert leakage.cross_class_duplicates(images, leakage.index_classes(images)) >= max(before, 3)


def test_synthetic_recall_has_each_change_and_class(indexes):
    table = leakage.synthetic_recall(indexes, count=20)
    assert table.index.tolist() == [(change, name) for change in leakage.CHANGES for name in ("REAL", "FAKE")]
    assert table.index.names == ["change", "class"]
    assert (table.loc["flipped", "value"] >= 0.9).all()
    assert table["value"].between(table["low"], table["high"]).all()
    assert (table["n"] == 20).all()


@pytest.fixture(scope="module")
def everything(loaded_cifake) -> Images:
    data = loaded_cifake
    return leakage.order_images(data.train, data.validation, data.calibration, data.test)


def test_exact_duplicates_of_cifake(everything):
    """1,336 pairs of equal pixels, all FAKE birds, dogs and frogs: 920 within train, 38 within test, 378 across."""
    frame = pd.DataFrame({
        "group": exact_groups(everything.pixels),
        "source": everything.source,
        "label": everything.labels,
        "object_class": everything.object_class,
    })  # fmt: skip
    frame = frame[frame.duplicated("group", keep=False)]
    pairs = frame.reset_index().merge(frame.reset_index(), on="group").query("index_x < index_y")
    counts = (pairs["source_x"] + " " + pairs["source_y"]).value_counts().to_dict()
    assert counts == {"train train": 920, "train test": 378, "test test": 38}
    assert set(frame["label"]) == {1}
    assert set(frame["object_class"]) == {2, 5, 6}
    assert (pd.read_csv(files.TRAIN_DUPLICATES)["kind"] == "exact").sum() == 920


def test_the_leak_free_test_set_has_no_exact_duplicates(everything):
    frame = pd.DataFrame({"group": exact_groups(everything.pixels), "file": everything.files})
    test = everything.source == "test"
    kept = frame[test & leak_free_rows(everything.files)]
    assert kept["group"].is_unique
    assert not kept["group"].isin(frame.loc[~test, "group"]).any()


def test_duplicates_in_cifake_never_straddle_a_split(loaded_cifake):
    pairs = pd.read_csv(files.TRAIN_DUPLICATES)
    splits = ("train", "validation", "calibration")
    sets = {file: name for name in splits for file in getattr(loaded_cifake, name).files}
    assert len(sets) == 100_000
    assert (pairs["file"].map(sets) == pairs["duplicate_of"].map(sets)).all()


def test_the_listed_leaks_of_real_images_are_found_again(everything):
    """For 400 REAL test images the search finds a duplicate in train exactly where the list names one."""
    real = everything.of_class(0)
    sample = torch.tensor(50_000 + np.random.default_rng(0).choice(10_000, 400, replace=False))
    found = search(build_index(real.pixels), real.pixels[sample], sample, reach=WIDE)
    in_train = set(real.files[sample.numpy()[found.loc[found["row"] < 50_000, "query"]]])
    listed = pd.read_csv(files.LEAKS)
    listed = set(listed.loc[listed["duplicate_in"] == "train", "file"])
    assert len(in_train) > 10
    assert in_train <= listed
    assert len(listed & set(real.files[sample]) - in_train) <= 3  # found with the train image as the query only


def test_the_leak_free_test_set_excludes_the_listed_files(loaded_cifake):
    listed = pd.read_csv(files.LEAKS)
    assert listed["file"].is_unique
    assert leak_free_rows(loaded_cifake.test.files).sum() == 20_000 - len(listed)
    assert set(listed["kind"]) == {"exact", "near", "flipped"}
    assert (listed["duplicate_in"] == "train").sum() > 900
