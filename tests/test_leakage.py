"""The lists of copies: what is left out and why, and that they are those of CIFAKE where it is there."""

import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from detector.copies import WIDE, build_index, exact_groups, look_up
from detector.data import LEAKS, TRAIN_COPIES, Images, leak_free_rows
from detector.leakage import (
    CHANGES,
    all_pictures,
    copies_table,
    find_copies,
    index_classes,
    leaks,
    planted_recall,
    train_copies,
)


def pairs_of(*rows: tuple[str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["file", "copy_of", "distance"])
    return frame.assign(**{"class": "REAL", "kind": "near"})


def test_leaks_are_what_is_linked_to_train_and_all_but_one_of_other_copies():
    found = leaks(
        pairs_of(
            ("test/b", "train/x", 0.1),
            ("test/b", "train/a", 0.05),
            ("test/c", "test/b", 0.01),  # no copy in train of its own, but b has
            ("test/e", "test/d", 0.02),
            ("test/f", "test/e", 0.03),
            ("test/h", "test/g", 0.03),
            ("train/y", "train/x", 0.0),
        )
    )
    assert found[["file", "copy_of"]].to_numpy().tolist() == [
        ["test/b", "train/a"],
        ["test/c", "test/b"],
        ["test/e", "test/d"],
        ["test/f", "test/e"],
        ["test/h", "test/g"],
    ]


def test_train_copies_are_the_pairs_within_train():
    found = train_copies(pairs_of(("train/b", "train/a", 0.1), ("test/a", "train/a", 0.1)))
    assert found["file"].tolist() == ["train/b"]


@pytest.fixture
def planted(standin) -> Images:
    """The stand-in's test pictures, ten of them again as files of the train folder: five equal, five mirrored."""
    base = standin.test[::9]
    base.files[:] = np.char.add("test/", np.arange(len(base)).astype(str))
    copies = base[:10]
    copies.files[:] = np.char.add("train/", np.arange(10).astype(str))
    copies.pixels[5:] = copies.pixels[5:].flip(3)
    return all_pictures(base, copies)


def test_planted_copies_are_listed(planted):
    pairs = find_copies(planted, index_classes(planted))
    ours = pairs[pairs["copy_of"].str.startswith("train")]
    assert set(zip(ours["file"], ours["copy_of"], ours["kind"], strict=True)) >= {
        (f"test/{row}", f"train/{row}", "exact" if row < 5 else "mirrored") for row in range(10)
    }
    assert copies_table(pairs)["train and test"].sum() == len(ours)


def test_planted_recall_counts_every_change_and_class(planted):
    table = planted_recall(index_classes(planted), count=20)
    assert len(table) == 2 * len(CHANGES)
    assert table.index[0][0] == next(iter(CHANGES))
    assert (table.loc["mirrored", "value"] >= 0.9).all()
    assert table["value"].between(table["low"], table["high"]).all()


@pytest.fixture(scope="module")
def everything(loaded_cifake) -> Images:
    return all_pictures(loaded_cifake.train, loaded_cifake.validation, loaded_cifake.calibration, loaded_cifake.test)


def test_exact_copies_of_cifake(everything):
    """1,336 pairs of equal pixels, all FAKE birds, dogs and frogs: 920 within train, 38 within test, 378 across."""
    frame = pd.DataFrame({
        "group": exact_groups(everything.pixels),
        "folder": pd.Series(everything.files).str.split("/").str[0],
        "label": everything.labels,
        "subject": everything.subjects,
    })  # fmt: skip
    frame = frame[frame.duplicated("group", keep=False)]
    pairs = frame.reset_index().merge(frame.reset_index(), on="group").query("index_x < index_y")
    counts = (pairs["folder_x"] + " " + pairs["folder_y"]).value_counts().to_dict()
    assert counts == {"train train": 920, "train test": 378, "test test": 38}
    assert set(frame["label"]) == {1}
    assert set(frame["subject"]) == {2, 5, 6}
    assert (pd.read_csv(TRAIN_COPIES)["kind"] == "exact").sum() == 920


def test_the_leak_free_test_has_no_exact_copies(everything):
    frame = pd.DataFrame({"group": exact_groups(everything.pixels), "file": everything.files})
    test = frame["file"].str.startswith("test")
    kept = frame[test & leak_free_rows(everything.files)]
    assert kept["group"].is_unique
    assert not kept["group"].isin(frame.loc[~test, "group"]).any()


def test_no_copy_straddles_the_sets_of_cifake(loaded_cifake):
    pairs = pd.read_csv(TRAIN_COPIES)
    sets = {
        file: name for name in ("train", "validation", "calibration") for file in getattr(loaded_cifake, name).files
    }
    assert len(sets) == 100_000
    assert (pairs["file"].map(sets) == pairs["copy_of"].map(sets)).all()


def test_the_split_is_the_one_that_the_shipped_models_know(loaded_cifake):
    """Trained and chosen on these very files: another split would make validation a part of what was learnt."""
    files = [*loaded_cifake.validation.files, *loaded_cifake.calibration.files]
    assert hashlib.sha256("\n".join(files).encode()).hexdigest()[:16] == "639a9e0470a4da8c"


def test_the_list_of_photographs_is_found_again(loaded_cifake):
    """From 400 test photographs: what the list names is found, and nothing else has a copy in the train folder."""
    train = [loaded_cifake.train, loaded_cifake.validation, loaded_cifake.calibration]
    images = all_pictures(*train, loaded_cifake.test)
    real = images[(images.labels == 0).numpy()]
    drawn = torch.tensor(50_000 + np.random.default_rng(0).choice(10_000, 400, replace=False))
    found = look_up(build_index(real.pixels), real.pixels[drawn], drawn, reach=WIDE)
    in_train = set(real.files[drawn.numpy()[found.loc[found["row"] < 50_000, "query"]]])
    listed = pd.read_csv(LEAKS)
    of_train = set(listed.loc[listed["copy_of"].str.startswith("train"), "file"])
    drawn_files = set(real.files[drawn])
    assert len(in_train) > 10
    assert in_train <= of_train
    assert len(of_train & drawn_files - in_train) <= 3  # found from the training picture's side only


def test_the_leak_free_test_is_what_the_list_leaves(loaded_cifake):
    kept = leak_free_rows(loaded_cifake.test.files)
    listed = pd.read_csv(LEAKS)
    assert listed["file"].is_unique
    assert kept.sum() == 20_000 - len(listed)
    assert set(listed["kind"]) == {"exact", "near", "mirrored"}
    assert listed["copy_of"].str.startswith("train").sum() > 900
