"""Get the data, and split it so that copies never straddle a split.

Train, validation and calibration are cut from CIFAKE's train folder; its test folder is scored, never chosen on.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupShuffleSplit

from detector import cifake, standin
from detector.cifake import CIFAR10_CLASSES, CLASSES, DATA_DIR
from detector.copies import linked_groups
from detector.progress import InputError

SPLITS = ("train", "validation", "calibration", "test")
HELD_OUT = 10_000  # images of the train folder kept for validation and calibration, half for each
SPLIT_SEED = 0
LEAKS = DATA_DIR / "leaks.csv"  # test files that are copies: file, copy_of, kind, distance
TRAIN_COPIES = DATA_DIR / "train_copies.csv"  # pairs within the train folder, likewise


@dataclass(frozen=True)
class Images:
    """A set of pictures, row by row.

    Attributes:
        pixels: uint8 (N, 3, 32, 32), RGB.
        labels: int64 (N,), 0 REAL, 1 FAKE.
        subjects: int64 (N,), what is seen, an index into the dataset's `subject_names`.
        files: str (N,), where each picture comes from.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    subjects: torch.Tensor
    files: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: torch.Tensor | np.ndarray | slice) -> "Images":
        rows = torch.arange(len(self))[rows]
        return Images(self.pixels[rows], self.labels[rows], self.subjects[rows], self.files[rows.numpy()])


@dataclass(frozen=True)
class Dataset:
    """The four sets, the data's name ('CIFAKE' or 'stand-in'), and why it is this data, in a sentence."""

    name: str
    note: str
    subject_names: tuple[str, ...]
    train: Images
    validation: Images
    calibration: Images
    test: Images

    def sample(self, images: int | None, seed: int = 0) -> "Dataset":
        """The same data with `images` of the training set, and as large a share of each other set, at random."""
        if images is None or images >= len(self.train):
            return self
        fraction, rng = images / len(self.train), np.random.default_rng(seed)
        sets = {name: getattr(self, name) for name in SPLITS}
        drawn = {
            name: images[np.sort(rng.choice(len(images), round(len(images) * fraction), replace=False))]
            for name, images in sets.items()
        }
        return replace(self, **drawn)

    def counts(self) -> pd.DataFrame:
        """Pictures by set and class."""
        rows = {name: np.bincount(getattr(self, name).labels, minlength=2) for name in SPLITS}
        return pd.DataFrame.from_dict(rows, orient="index", columns=CLASSES).rename_axis("set")


def load_data() -> Dataset:
    """CIFAKE, from `CIFAKE_DIR` or Kaggle; the stand-in where Kaggle cannot be reached and nothing is cached.

    Raises InputError in one sentence where the data that was asked for is incomplete or altered.
    """
    try:
        train_folder, test = load_folders()
    except ConnectionError as error:
        return _standin(f"{error}, nothing is cached, and CIFAKE_DIR is not set.")
    train, validation, calibration = split(train_folder, _read_list(TRAIN_COPIES))
    note = "CIFAKE version 3, every file as published."
    return Dataset("CIFAKE", note, CIFAR10_CLASSES, train, validation, calibration, test)


def load_cifake_only() -> Dataset:
    """The data, where nothing but CIFAKE will do."""
    data = load_data()
    if data.name != "CIFAKE":
        raise InputError(f"this needs CIFAKE, which cannot be had: {data.note}")
    return data


def load_folders() -> tuple[Images, Images]:
    """CIFAKE's train folder and its test folder, REAL before FAKE, file by file in the order of their names.

    Raises InputError as `load_data` does, and ConnectionError where CIFAKE cannot be had.
    """
    pixels = cifake.load_cifake(cifake.find_cifake())
    parts = {folder: _folder(folder, pixels) for folder, pixels in pixels.items()}
    train = concatenate(parts["train/REAL"], parts["train/FAKE"])
    return train, concatenate(parts["test/REAL"], parts["test/FAKE"])


def _standin(why: str) -> Dataset:
    sets = {
        name: Images(**part, files=np.array([f"{name}/{row:04d}" for row in range(len(part["labels"]))]))
        for name, part in standin.make_standin().items()
    }
    return Dataset("stand-in", why, standin.SUBJECTS, **sets)


def _folder(folder: str, pixels: torch.Tensor) -> Images:
    files = cifake.file_names(folder)
    label = CLASSES.index(folder.split("/")[1])
    subjects = torch.arange(len(CIFAR10_CLASSES)).repeat_interleave(len(files) // len(CIFAR10_CLASSES))
    return Images(pixels, torch.full((len(files),), label), subjects, np.array(files))


def concatenate(*parts: Images) -> Images:
    """The rows of several sets, one after the other."""
    tensors = [torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "labels", "subjects")]
    return Images(*tensors, np.concatenate([part.files for part in parts]))


def split(images: Images, pairs: pd.DataFrame) -> tuple[Images, Images, Images]:
    """CIFAKE's train folder as (train, validation, calibration): the rest, about 5,000 and 5,000.

    Pictures that `pairs` (columns file, copy_of) names as copies are kept together, and so are the copies of copies.

    Raises InputError if it names a file that is not there.
    """
    row = pd.Series(np.arange(len(images)), index=images.files)
    if not pairs[["file", "copy_of"]].isin(row.index).all(axis=None):
        raise InputError(f"{TRAIN_COPIES} names files that CIFAKE does not have: restore it from the repository.")
    groups = linked_groups(len(images), row[pairs["file"]].to_numpy(), row[pairs["copy_of"]].to_numpy())
    train, held_out = _group_split(groups, np.arange(len(images)), HELD_OUT / len(images))
    validation, calibration = _group_split(groups, held_out, 0.5)
    return images[train], images[validation], images[calibration]


def leak_free_rows(files: np.ndarray) -> np.ndarray:
    """Which of some test files belong to the leak-free test, bool (N,): those that `data/leaks.csv` does not list."""
    return ~np.isin(files, _read_list(LEAKS)["file"])


def _read_list(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: restore it from the repository.") from error


def _group_split(groups: np.ndarray, rows: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Some rows cut in two, the second part holding `fraction` of the groups; both in ascending order."""
    cut = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=SPLIT_SEED)
    first, second = next(cut.split(rows, groups=groups[rows]))
    return np.sort(rows[first]), np.sort(rows[second])
