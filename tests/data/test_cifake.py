"""Missing, altered or outdated files of CIFAKE raise an error or are decoded again; they are never used."""

import io
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import kagglehub
import numpy as np
import pytest
import torch
from kagglehub import dataset_download
from kagglesdk import kaggle_env
from kagglesdk.kaggle_env import KaggleEnv
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from tqdm import tqdm

from detector.core import files
from detector.core.console import UserError
from detector.data import cifake
from detector.data.dataset import load_data
from detector.data.jpeg import JPEG_SETTINGS


def load(root, tmp_path):
    return cifake.load_cifake(root, tmp_path / "cache.safetensors")


def test_published_names():
    names = {folder: cifake.file_names(folder) for folder in cifake.FOLDERS}
    assert {folder: len(set(listed)) for folder, listed in names.items()} == {
        "train/REAL": 50_000, "train/FAKE": 50_000, "test/REAL": 10_000, "test/FAKE": 10_000,
    }  # fmt: skip
    assert names["train/REAL"][0] == "train/REAL/0000.jpg"
    assert names["train/FAKE"][5000] == "train/FAKE/1000 (2).jpg"
    assert names["test/FAKE"][-1] == "test/FAKE/999 (10).jpg"


def test_there_is_one_checksum_per_file():
    checksums = np.load(files.CIFAKE_CHECKSUMS)
    assert checksums.dtype == np.uint64
    assert len(checksums) == sum(len(cifake.file_names(folder)) for folder in cifake.FOLDERS)


def test_pixels_are_those_of_the_files_in_order(tiny_cifake, tmp_path):
    for folder, pixels in load(tiny_cifake, tmp_path).items():
        assert pixels.dtype == torch.uint8
        for name, image in zip(cifake.file_names(folder), pixels, strict=True):
            expected = np.asarray(Image.open(tiny_cifake / name)).transpose(2, 0, 1)
            assert np.array_equal(image, expected)


def test_a_disabled_progress_bar_changes_nothing(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setattr(cifake, "CHUNK", 7)
    monkeypatch.setattr(cifake, "progress", lambda **options: tqdm(disable=True))
    test_pixels_are_those_of_the_files_in_order(tiny_cifake, tmp_path)


def test_second_load_reads_the_cache(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CIFAKE_CACHE", tmp_path / "new" / "cache.safetensors")
    first = cifake.load_cifake(tiny_cifake)
    monkeypatch.setattr(cifake, "_decode_all", lambda root: pytest.fail("decoded again"))
    second = cifake.load_cifake(tiny_cifake)
    assert all(torch.equal(first[folder], second[folder]) for folder in first)


def flip_bit(data: bytes, position: int, bit: int = 1) -> bytes:
    return data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: flip_bit(data, len(data) // 10),
        lambda data: flip_bit(data, len(data) // 2),
        lambda data: flip_bit(data, len(data) * 99 // 100),
        lambda data: data[:-1000],
    ],
    ids=["early", "middle", "late", "truncated"],
)
def test_damaged_cache_is_rebuilt(tiny_cifake, tmp_path, damage):
    before = {folder: pixels.clone() for folder, pixels in load(tiny_cifake, tmp_path).items()}
    cache = tmp_path / "cache.safetensors"
    damaged = damage(cache.read_bytes())
    cache.write_bytes(damaged)
    after = load(tiny_cifake, tmp_path)
    assert all(torch.equal(before[folder], after[folder]) for folder in before)
    assert cache.read_bytes() != damaged


@pytest.mark.parametrize("position", range(0, 600, 40))
def test_one_altered_byte_is_found(tiny_cifake, tmp_path, position):
    load(tiny_cifake, tmp_path)  # a valid cache does not hide it
    altered = tiny_cifake / "train/FAKE/0001 (3).jpg"
    altered.write_bytes(flip_bit(altered.read_bytes(), position, 0x10))
    with pytest.raises(UserError, match=r"0001 \(3\).jpg is not the published file"):
        load(tiny_cifake, tmp_path)


def test_truncated_file_is_named(tiny_cifake, tmp_path):
    path = tiny_cifake / "test/REAL/0000.jpg"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"test/REAL/0000.jpg is not the published file"):
        load(tiny_cifake, tmp_path)


def test_missing_file_is_named(tiny_cifake, tmp_path):
    load(tiny_cifake, tmp_path)
    (tiny_cifake / "train/REAL/0001 (7).jpg").unlink()
    with pytest.raises(UserError, match=r"0001 \(7\).jpg is missing"):
        load(tiny_cifake, tmp_path)


def test_unexpected_file_is_named(tiny_cifake, tmp_path):
    (tiny_cifake / "train/REAL/mine.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"mine.jpg is not part of CIFAKE"):
        load(tiny_cifake, tmp_path)


def test_full_disk_is_found_before_decoding(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setattr(cifake, "_decode_all", lambda root: pytest.fail("decoded"))
    monkeypatch.setattr(cifake.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match="Free some disk space"):
        load(tiny_cifake, tmp_path)


def test_disk_that_fills_while_writing_leaves_no_files(tiny_cifake, tmp_path, monkeypatch):
    def fail(tensors, path, *rest):
        path.write_bytes(b"incomplete")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(UserError, match="No space left"):
        load(tiny_cifake, tmp_path)
    assert not list(tmp_path.glob("cache*"))


def test_wrong_folder_is_an_error_and_never_gives_the_toy_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tmp_path))
    with pytest.raises(UserError, match="CIFAKE_DIR"):
        load_data()


def test_chosen_folder_is_used(tiny_cifake, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tiny_cifake))
    assert cifake.find_cifake() == tiny_cifake


@pytest.fixture
def kaggle(monkeypatch, tmp_path) -> Iterator[Callable[[int, bytes], None]]:
    """Serve a local Kaggle; return a function that sets its answer: a status, and the body of a download."""
    answer = [200, b""]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if answer[0] is None:
                stopped.wait(20)
                return
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, *_):
            """Print nothing."""

    stopped, server = threading.Event(), ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever).start()
    monkeypatch.setattr(kagglehub, "dataset_download", dataset_download)
    monkeypatch.setitem(kaggle_env._env_to_endpoint, KaggleEnv.PROD, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("CIFAKE_DIR", raising=False)
    yield lambda status, body=b"": answer.__setitem__(slice(None), [status, body])
    stopped.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_refused_download_is_an_error_and_never_gives_the_toy_dataset(kaggle, status):
    kaggle(status)
    with pytest.raises(UserError, match=f"Kaggle did not provide .*{status}"):
        load_data()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/REAL/0000.jpg", np.random.default_rng(0).bytes(10_000))
    return file.getvalue()


@pytest.mark.parametrize("body", [b"", b"<html>Log in</html>", zipped()[:5000], flip_bit(zipped(), 5000)])
def test_a_damaged_archive_names_the_folder_to_delete(kaggle, body, tmp_path):
    kaggle(200, body)
    with pytest.raises(UserError, match=f"download is damaged .* Delete {tmp_path}.*birdy654"):
        load_data()


def test_a_server_that_does_not_answer_is_given_up(kaggle, monkeypatch):
    kaggle(None)
    monkeypatch.setattr(cifake, "TIME_LIMITS", (0.5, 0.5))
    with pytest.raises(ConnectionError, match="set CIFAKE_DIR"):
        cifake.find_cifake()


def test_no_network_gives_the_toy_dataset(monkeypatch, tmp_path):
    monkeypatch.setattr(kagglehub, "dataset_download", dataset_download)
    monkeypatch.setitem(kaggle_env._env_to_endpoint, KaggleEnv.PROD, "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    monkeypatch.delenv("CIFAKE_DIR", raising=False)
    assert load_data().name == "toy"


def test_a_cache_of_another_decoder_is_decoded_again(tiny_cifake, tmp_path, monkeypatch):
    load(tiny_cifake, tmp_path)
    monkeypatch.setattr(cifake.features, "version", lambda _: "0")
    decoded = cifake._decode_all(tiny_cifake)
    monkeypatch.setattr(cifake, "_decode_all", lambda _: {name: 255 - pixels for name, pixels in decoded.items()})
    assert torch.equal(load(tiny_cifake, tmp_path)["test/REAL"], 255 - decoded["test/REAL"])


def test_exchanged_class_folders_are_named(tiny_cifake, tmp_path):
    folder = tiny_cifake / "train"
    for old, new in (("REAL", "other"), ("FAKE", "REAL"), ("other", "FAKE")):
        (folder / old).rename(folder / new)
    with pytest.raises(UserError, match=r"train/REAL has the files of train/FAKE\. Exchange"):
        load(tiny_cifake, tmp_path)


@pytest.mark.parametrize("change", [lambda name: name.lower(), lambda name: f"archive/{name}"])
def test_another_layout_names_the_folder_that_is_missing(tiny_cifake, tmp_path, change):
    root = tmp_path / "other"
    for folder in cifake.FOLDERS:
        shutil.copytree(tiny_cifake / folder, root / change(folder))
    with pytest.raises(UserError, match=f"no folder train/REAL in {root}. Set CIFAKE_DIR"):
        load(root, tmp_path)


def test_codec_does_not_distinguish_cifakes_classes(real_cifake):
    """Every fifth file is 32x32 RGB JPEG, 4:2:0, with the quantisation tables of our own encoder at quality 75."""
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


def test_litter_of_operating_systems_in_cifake_is_ignored(tiny_cifake):
    for name in (".DS_Store", "._0000.jpg", "Thumbs.db", "desktop.ini"):
        (tiny_cifake / "train" / "REAL" / name).write_bytes(b"no image")
    (tiny_cifake / "test" / "FAKE" / ".ipynb_checkpoints").mkdir()
    assert len(cifake.load_cifake(tiny_cifake)["train/REAL"]) == 20
