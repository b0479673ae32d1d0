"""CIFAKE on the disk: what is missing, altered or stale is told or rebuilt, and never used."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from tqdm import tqdm

from detector import cifake
from detector.data import load_data
from detector.decoding import JPEG_SETTINGS, jpeg_round_trip
from detector.progress import InputError


def load(root, tmp_path):
    return cifake.load_cifake(root, tmp_path / "cache.safetensors")


def test_published_names():
    names = {folder: cifake.file_names(folder) for folder in cifake.FOLDERS}
    assert {folder: len(set(files)) for folder, files in names.items()} == {
        "train/REAL": 50_000, "train/FAKE": 50_000, "test/REAL": 10_000, "test/FAKE": 10_000,
    }  # fmt: skip
    assert names["train/REAL"][0] == "train/REAL/0000.jpg"
    assert names["train/FAKE"][5000] == "train/FAKE/1000 (2).jpg"
    assert names["test/FAKE"][-1] == "test/FAKE/999 (10).jpg"


def test_committed_checksums_are_one_a_file():
    checksums = np.load(cifake.CHECKSUMS)
    assert checksums.dtype == np.uint64
    assert len(checksums) == sum(len(cifake.file_names(folder)) for folder in cifake.FOLDERS)


def test_pixels_are_those_of_the_files_in_order(tiny_cifake, tmp_path):
    pixels = load(tiny_cifake, tmp_path)
    for folder, part in pixels.items():
        assert part.dtype == torch.uint8
        for name, picture in zip(cifake.file_names(folder), part, strict=True):
            expected = np.asarray(Image.open(tiny_cifake / name)).transpose(2, 0, 1)
            assert np.array_equal(picture, expected)


def test_a_disabled_bar_changes_nothing(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setattr(cifake, "CHUNK", 7)
    monkeypatch.setattr(cifake, "progress", lambda **options: tqdm(disable=True))
    test_pixels_are_those_of_the_files_in_order(tiny_cifake, tmp_path)


def test_second_load_reads_the_cache(tiny_cifake, tmp_path, monkeypatch):
    first = load(tiny_cifake, tmp_path)
    monkeypatch.setattr(cifake, "_decode_all", lambda root: pytest.fail("decoded again"))
    second = load(tiny_cifake, tmp_path)
    assert all(torch.equal(first[folder], second[folder]) for folder in first)


@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
def test_altered_cache_is_rebuilt(tiny_cifake, tmp_path, where):
    before = {folder: part.clone() for folder, part in load(tiny_cifake, tmp_path).items()}
    cache = tmp_path / "cache.safetensors"
    data = bytearray(cache.read_bytes())
    data[int(len(data) * where)] ^= 1
    cache.write_bytes(data)
    after = load(tiny_cifake, tmp_path)
    assert all(torch.equal(before[folder], after[folder]) for folder in before)
    assert cache.read_bytes() != bytes(data)


def test_torn_cache_is_rebuilt(tiny_cifake, tmp_path):
    before = {folder: part.clone() for folder, part in load(tiny_cifake, tmp_path).items()}
    cache = tmp_path / "cache.safetensors"
    cache.write_bytes(cache.read_bytes()[:-1000])
    after = load(tiny_cifake, tmp_path)
    assert all(torch.equal(before[folder], after[folder]) for folder in before)


@pytest.mark.parametrize("position", range(0, 600, 40))
def test_one_altered_byte_is_named(tiny_cifake, tmp_path, position):
    load(tiny_cifake, tmp_path)  # also where a cache is there already
    victim = tiny_cifake / "train/FAKE/0001 (3).jpg"
    data = bytearray(victim.read_bytes())
    data[position] ^= 0x10
    victim.write_bytes(data)
    with pytest.raises(InputError, match=r"0001 \(3\).jpg is not the file that was published"):
        load(tiny_cifake, tmp_path)


def test_short_file_is_named(tiny_cifake, tmp_path):
    victim = tiny_cifake / "test/REAL/0000.jpg"
    victim.write_bytes(victim.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"test/REAL/0000.jpg is not the file"):
        load(tiny_cifake, tmp_path)


def test_missing_file_is_named(tiny_cifake, tmp_path):
    load(tiny_cifake, tmp_path)
    (tiny_cifake / "train/REAL/0001 (7).jpg").unlink()
    with pytest.raises(InputError, match=r"0001 \(7\).jpg is missing"):
        load(tiny_cifake, tmp_path)


def test_unexpected_file_is_named(tiny_cifake, tmp_path):
    (tiny_cifake / "train/REAL/mine.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"mine.jpg is not part of CIFAKE"):
        load(tiny_cifake, tmp_path)


def test_full_disk_is_told_before_decoding(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setattr(cifake.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="free some disk space"):
        load(tiny_cifake, tmp_path)


def test_disk_that_fills_while_writing_leaves_nothing_behind(tiny_cifake, tmp_path, monkeypatch):
    def fail(tensors, path, *rest):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cifake, "save_file", fail)
    with pytest.raises(InputError, match="No space left"):
        load(tiny_cifake, tmp_path)
    assert not list(tmp_path.glob("cache*"))


def test_wrong_folder_is_an_error_never_a_fallback(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tmp_path))
    with pytest.raises(InputError, match="CIFAKE_DIR"):
        load_data()


def test_chosen_folder_is_used(tiny_cifake, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tiny_cifake))
    assert cifake.find_cifake() == tiny_cifake


def test_kaggle_that_refuses_is_an_error_never_a_fallback(monkeypatch):
    def refuse(handle):
        raise cifake.requests.exceptions.HTTPError("403 Forbidden")

    monkeypatch.setattr(cifake.kagglehub, "dataset_download", refuse)
    with pytest.raises(InputError, match="403 Forbidden"):
        cifake.find_cifake()


def test_jpeg_round_trip_has_cifakes_settings(tmp_path, tiny_cifake):
    published = Image.open(tiny_cifake / "test/REAL/0000.jpg")
    picture = published.convert("RGB")
    picture.save(tmp_path / "again.jpg", "JPEG", **JPEG_SETTINGS)
    again = Image.open(tmp_path / "again.jpg")
    assert again.quantization == published.quantization
    assert np.array_equal(np.asarray(jpeg_round_trip(picture)), np.asarray(again))


def test_no_codec_tells_the_classes_of_cifake(real_cifake):
    """Every fifth file: JPEG, 32x32, RGB, 4:2:0, and the quantisation tables of our own encoder at quality 75."""
    reference = io.BytesIO()
    Image.new("RGB", (32, 32)).save(reference, "JPEG", **JPEG_SETTINGS)
    with Image.open(reference) as image:
        tables = image.quantization
    root = cifake.find_cifake()
    for name in (name for folder in cifake.FOLDERS for name in cifake.file_names(folder)[::5]):
        with Image.open(root / name) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (32, 32), "RGB"), name
            assert get_sampling(image) == 2, name  # 4:2:0
            assert image.quantization == tables, name
