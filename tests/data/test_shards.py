"""Shards hold every image once, and their stream depends neither on processes and workers nor on where it starts."""

import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from detector.core.console import UserError
from detector.data.folders import load_folders
from detector.data.shards import LANES, Shards, open_shards, read_batches, write_shards

pytest.importorskip("webdataset")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of a DataLoader, from Python 3.12 on


@pytest.fixture(scope="module")
def folder(toy, tmp_path_factory) -> Path:
    """Return a folder with 300 images, a third of which is FAKE."""
    root = tmp_path_factory.mktemp("images") / "photos"
    for label, name, count in ((0, "REAL", 200), (1, "FAKE", 100)):
        (root / name / "toy").mkdir(parents=True)
        for row, pixels in enumerate(toy.train.of_class(label).pixels[:count]):
            TF.to_pil_image(pixels).save(root / name / "toy" / f"{row:03}.png")
    return root


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory) -> Shards:
    return open_shards(write_shards(folder, tmp_path_factory.mktemp("shards")).parent)


def read(shards: Shards, steps: range, **options) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(read_batches(shards, LANES, 0, steps, **options))


def image_set(pixels: torch.Tensor, labels: torch.Tensor) -> list[tuple[bytes, int]]:
    return sorted((image.numpy().tobytes(), int(label)) for image, label in zip(pixels, labels, strict=True))


def same(one: list, other: list) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for parts in pairs for a, b in zip(*parts, strict=True))


def test_an_epoch_has_the_folders_images(folder, shards):
    """Each at most once; a shard's surplus waits for another epoch."""
    steps = shards.steps(LANES)
    pixels, labels = (torch.cat(parts) for parts in zip(*read(shards, range(steps)), strict=True))
    images = load_folders(folder)
    assert (len(shards), steps) == (300, 4)  # of 4 or 5 images a shard
    whole, found = image_set(images.pixels, images.labels), image_set(pixels, labels)
    assert len(found) == steps * LANES
    assert len(set(found)) >= len(found) - (len(whole) - len(set(whole)))
    assert set(found) <= set(whole)


def test_epochs_and_seeds_have_their_own_order(shards):
    first, second = read(shards, range(4)), read(shards, range(4, 8))
    other = list(read_batches(shards, LANES, 1, range(4)))
    assert not same(first, second) and not same(first, other)
    assert same(first, read(shards, range(4)))


@pytest.mark.parametrize("start", [1, 4, 6])
def test_a_stream_resumes_in_the_middle_of_an_epoch(shards, start):
    assert same(read(shards, range(9))[start:], read(shards, range(start, 9)))


@pytest.mark.parametrize(("processes", "workers"), [(1, 2), (2, 0), (4, 2), (LANES, 0)])
def test_batches_do_not_depend_on_processes_and_workers(shards, processes, workers):
    shares = [read(shards, range(2), rank=rank, processes=processes, workers=workers) for rank in range(processes)]
    whole = [tuple(torch.cat(parts) for parts in zip(*step, strict=True)) for step in zip(*shares, strict=True)]
    assert same(read(shards, range(2)), whole)


def test_an_interrupted_writing_continues(folder, tmp_path, monkeypatch):
    path = write_shards(folder, tmp_path)
    first, *others = sorted(path.parent.glob("*.tar"))
    expected, manifest = first.read_bytes(), path.read_text()
    first.unlink()
    path.unlink()
    written = {other: other.stat().st_mtime_ns for other in others}
    write_shards(folder, tmp_path)
    assert (first.read_bytes(), path.read_text()) == (expected, manifest)
    assert {other: other.stat().st_mtime_ns for other in others} == written


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["cut", "fewer", "pixels"])
def test_a_damaged_shard_is_an_error(folder, tmp_path, damage, workers):
    shards = open_shards(write_shards(folder, tmp_path).parent)
    path = next(tmp_path.glob("*.tar"))
    if damage == "fewer":
        with tarfile.open(path, "w"):
            pass
    else:
        content = path.read_bytes()
        path.write_bytes(content[:700] if damage == "cut" else content[:600] + b"\0" * 400 + content[1000:])
    with pytest.raises(UserError, match=r"^(One of|A shard in).*Write the shards again"):
        read(shards, range(4), workers=workers)


def test_missing_files_are_errors(folder, tmp_path):
    with pytest.raises(UserError, match=r"manifest.json cannot be read .*Write the shards again"):
        open_shards(tmp_path)
    path = next(write_shards(folder, tmp_path).parent.glob("*.tar"))
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing"):
        open_shards(tmp_path)


def test_what_cannot_be_divided_is_an_error(shards, tmp_path):
    with pytest.raises(UserError, match="cannot divide a batch of 100"):
        shards.steps(100)
    with pytest.raises(UserError, match="3 processes cannot divide 64 lanes"):
        read(shards, range(1), processes=3)
    (tmp_path / "REAL" / "few").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "REAL" / "few" / "one.png")
    with pytest.raises(UserError, match=r"has 1 images\. Shards need at least 64"):
        write_shards(tmp_path, tmp_path / "out")
