"""What the tests share: the stand-in data, and a folder laid out as CIFAKE with few files. No network."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from kagglehub.config import get_cache_folder
from PIL import Image

from detector import cifake, training
from detector.data import Dataset, load_data
from detector.decoding import JPEG_SETTINGS, checksum
from detector.models import CNN

PLACE = Path(os.environ.get("CIFAKE_DIR") or Path(get_cache_folder(), "datasets", cifake.HANDLE))
TINY = {"train/REAL": (0, 2, 4), "train/FAKE": (1, 3, 4), "test/REAL": (0, 1, 4), "test/FAKE": (0, 1, 1)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No test reaches Kaggle or a person's checkpoints; CIFAKE is read by those alone that ask for `real_cifake`."""
    monkeypatch.delenv("CIFAKE_DIR", raising=False)
    monkeypatch.setattr(cifake.kagglehub, "dataset_download", _unreachable)
    monkeypatch.setattr(training, "CHECKPOINTS", tmp_path / "checkpoints")


def _unreachable(handle: str) -> str:
    raise cifake.requests.exceptions.ConnectionError(f"no network for {handle}")


@pytest.fixture(scope="session")
def standin() -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CIFAKE_DIR", raising=False)
        patch.setattr(cifake.kagglehub, "dataset_download", _unreachable)
        return load_data()


@pytest.fixture(scope="session")
def loaded_cifake() -> Dataset:
    """CIFAKE itself; the test is skipped where it was not downloaded."""
    if not (PLACE / "train").is_dir():
        pytest.skip("CIFAKE is not on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAKE_DIR", str(PLACE))
        return load_data()


@pytest.fixture
def real_cifake(loaded_cifake, monkeypatch) -> Dataset:
    """The same, for code that looks for its files too."""
    monkeypatch.setenv("CIFAKE_DIR", str(PLACE))
    return loaded_cifake


@pytest.fixture
def tiny_cifake(tmp_path, monkeypatch):
    """A folder of CIFAKE's form with 60 files, known to the code by its own list and checksums."""
    root = tmp_path / "cifake"
    rng = np.random.default_rng(0)
    monkeypatch.setattr(cifake, "FOLDERS", TINY)
    monkeypatch.setattr(cifake, "CHECKSUMS", tmp_path / "checksums.npy")
    names = [name for folder in TINY for name in cifake.file_names(folder)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        noise.save(root / name, "JPEG", **JPEG_SETTINGS)
    np.save(cifake.CHECKSUMS, np.array([checksum((root / name).read_bytes()) for name in names], np.uint64))
    return root


@pytest.fixture
def small_cnn() -> CNN:
    """A network whose logits differ from picture to picture, in evaluation mode."""
    torch.manual_seed(0)
    model = CNN(widths=(16, 16), stem=16)
    model.eval().head.weight.data *= 100
    with torch.no_grad():
        model.head.bias -= model(torch.rand(64, 3, 32, 32)).mean()  # around 0, where P(FAKE) moves most
    return model
