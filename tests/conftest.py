"""Shared fixtures: the toy dataset, CIFAKE where it is installed, a folder laid out as CIFAKE with few files."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import kagglehub
import numpy as np
import pytest
import requests
import torch
from kagglehub.config import get_cache_folder
from PIL import Image

from detector.core import files
from detector.data import cifake
from detector.data.dataset import Dataset, load_data
from detector.data.jpeg import JPEG_SETTINGS, checksum
from detector.inference.export import export
from detector.models.cnn import CNN

CIFAKE_FOLDER = Path(os.environ.get("CIFAKE_DIR") or Path(get_cache_folder(), "datasets", cifake.HANDLE))
TINY = {"train/REAL": (0, 2, 4), "train/FAKE": (1, 3, 4), "test/REAL": (0, 1, 4), "test/FAKE": (0, 1, 1)}


def _unreachable(handle: str) -> str:
    raise requests.exceptions.ConnectionError(f"no network for {handle}")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Keep every test away from Kaggle and from real checkpoints; only `real_cifake` reads CIFAKE."""
    monkeypatch.delenv("CIFAKE_DIR", raising=False)
    monkeypatch.setattr(kagglehub, "dataset_download", _unreachable)
    monkeypatch.setattr(files, "CHECKPOINTS_DIR", tmp_path / "checkpoints")


@pytest.fixture(scope="session")
def toy() -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CIFAKE_DIR", raising=False)
        patch.setattr(kagglehub, "dataset_download", _unreachable)
        return load_data()


@pytest.fixture(scope="session")
def loaded_cifake() -> Dataset:
    """Return CIFAKE itself; skip the test where it is not installed."""
    if not (CIFAKE_FOLDER / "train").is_dir():
        pytest.skip("CIFAKE is not on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CIFAKE_DIR", str(CIFAKE_FOLDER))
        return load_data()


@pytest.fixture
def real_cifake(loaded_cifake, monkeypatch) -> Dataset:
    """Return CIFAKE for code that also opens its files."""
    monkeypatch.setenv("CIFAKE_DIR", str(CIFAKE_FOLDER))
    return loaded_cifake


@pytest.fixture
def tiny_cifake(tmp_path, monkeypatch) -> Path:
    """Return a folder laid out as CIFAKE with 60 files, which the code accepts by its own list and checksums."""
    root = tmp_path / "cifake"
    rng = np.random.default_rng(0)
    monkeypatch.setattr(cifake, "FOLDERS", TINY)
    monkeypatch.setattr(files, "CIFAKE_CHECKSUMS", tmp_path / "checksums.npy")
    monkeypatch.setattr(files, "CIFAKE_CACHE", tmp_path / "cifake.safetensors")
    names = [name for folder in TINY for name in cifake.file_names(folder)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        noise.save(root / name, "JPEG", **JPEG_SETTINGS)
    np.save(files.CIFAKE_CHECKSUMS, np.array([checksum((root / name).read_bytes()) for name in names], np.uint64))
    return root


@pytest.fixture
def small_cnn() -> CNN:
    """Return a network in evaluation mode whose logits differ from image to image."""
    torch.manual_seed(0)
    model = CNN(widths=(16, 16), stem=16)
    model.eval().head.weight.data *= 100
    with torch.no_grad():
        model.head.bias -= model(torch.rand(64, 3, 32, 32)).mean()  # around 0, where P(FAKE) varies most
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that exports a released model, once a session, and returns the ONNX file."""
    pytest.importorskip("onnxscript")
    return cache(lambda name: export(name, tmp_path_factory.mktemp("onnx") / f"{name}.onnx"))
