"""Folders of sources: every image is converted, in a fixed order, and misplaced files are named."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import UNKNOWN
from detector.data import decode
from detector.data.folders import list_sources, load_folders, load_unseen
from detector.data.images import to_cifake_format
from detector.data.jpeg import JPEG_SETTINGS


def smooth(width: int = 48, height: int = 48, seed: int = 0) -> Image.Image:
    """Return an image of smooth colours, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def put(image: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "unseen"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (smooth(), "a.png"),
        (smooth(200, 100), "a.jpg"),
        (smooth(20, 25), "a.png"),
        (smooth().quantize(16), "a.png"),
        (smooth().quantize(16), "a.gif"),
        (smooth().convert("L"), "a.png"),
        (smooth().convert("CMYK"), "a.tif"),
        (Image.merge("RGBA", [*smooth().split(), smooth(seed=1).getchannel(0)]), "a.png"),
        (Image.fromarray(np.linspace(0, 65535, 2000).reshape(40, 50).astype(np.uint16)), "a.png"),
        (smooth(), "a.webp"),
    ],
)
def test_any_image_is_converted_as_by_to_cifake_format(folder, image, name):
    path = put(image, folder / "FAKE" / "some" / name)
    pixels = load_folders(folder).pixels
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (1, 3, 32, 32)
    with Image.open(path) as opened:
        assert np.array_equal(pixels[0], to_cifake_format(opened))


def test_the_format_is_detected_from_the_content(folder):
    path = folder / "REAL" / "some" / "a.jpg"
    put(smooth(), path, format="PNG")
    assert np.array_equal(load_folders(folder).pixels[0], to_cifake_format(smooth()))


def test_codec_is_no_shortcut(folder):
    """A lossless image gets the artefacts of CIFAKE's encoder; an image that has them already changes far less."""
    put(smooth(32, 32), folder / "REAL" / "some" / "a.png")
    path = put(smooth(32, 32), folder / "REAL" / "some" / "b.jpg", **JPEG_SETTINGS)
    original, once = (
        torch.from_numpy(np.array(image)).permute(2, 0, 1).float() for image in (smooth(32, 32), Image.open(path))
    )
    lossless, twice = load_folders(folder).pixels.float()
    assert torch.equal(lossless, once)
    assert (twice - once).abs().mean() < (once - original).abs().mean() / 2


def test_order_labels_sources_and_files(folder, monkeypatch):
    names = {"FAKE/b": "10.png", "FAKE/a": "2.png", "REAL/z": "x.png", "FAKE/B": "c.png"}
    for seed, (source, name) in enumerate(names.items()):
        put(smooth(seed=seed), folder / source / name)
    for name in ("9.png", "1.png", "01.png"):
        put(smooth(seed=9), folder / "FAKE" / "b" / name)
    monkeypatch.setattr(files, "UNSEEN_DIR", folder)
    loaded = load_unseen()
    assert loaded.files.tolist() == [
        "unseen/REAL/z/x.png",
        "unseen/FAKE/B/c.png",
        "unseen/FAKE/a/2.png",
        *(f"unseen/FAKE/b/{name}" for name in ("01.png", "1.png", "10.png", "9.png")),
    ]
    assert loaded.source.tolist() == ["z", "B", "a", "b", "b", "b", "b"]
    assert loaded.labels.tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert loaded.object_class.tolist() == [UNKNOWN] * 7
    assert loaded.labels.dtype == loaded.object_class.dtype == torch.int64
    assert list(loaded.by_source()) == list(list_sources(folder)) == [(0, "z"), (1, "B"), (1, "a"), (1, "b")]


def test_litter_is_ignored(folder):
    put(smooth(), folder / "REAL" / "some" / "a.png")
    for name in (".DS_Store", "FAKE/.DS_Store", "REAL/Thumbs.db", "REAL/some/._a.png", "REAL/some/desktop.ini"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    (folder / "__MACOSX").mkdir()
    assert load_folders(folder).files.tolist() == ["unseen/REAL/some/a.png"]


def test_absent_and_empty_folders_have_no_images(folder):
    for _ in range(2):
        loaded = load_folders(folder)
        assert len(loaded) == 0
        assert loaded.pixels.shape == (0, 3, 32, 32)
        assert loaded.by_source() == {}
        (folder / "REAL").mkdir(parents=True, exist_ok=True)


def rejection(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_folders(folder)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: b"not an image", "format"),
        (lambda data: b"", "format"),
    ],
    ids=["truncated", "text", "empty"],
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_a_damaged_file_is_named(folder, damage, message, format_):
    put(smooth(), folder / "REAL" / "some" / "a.png")
    stream = io.BytesIO()
    smooth(200, 200).save(stream, format_)
    path = folder / "FAKE" / "other" / "broken.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage(stream.getvalue()))
    rejected = rejection(folder)
    assert str(path) in rejected
    assert message in rejected


def test_too_many_pixels_are_rejected(folder, monkeypatch):
    path = put(smooth(), folder / "REAL" / "some" / "a.png")
    monkeypatch.setattr(decode, "MAX_PIXELS", 48 * 48)
    assert len(load_folders(folder)) == 1
    monkeypatch.setattr(decode, "MAX_PIXELS", 48 * 48 - 1)
    assert f"{path} cannot be used. The image is too large" in rejection(folder)


def test_each_misplaced_file_or_folder_is_named(folder):
    source = folder / "REAL" / "some"
    source.mkdir(parents=True)
    assert f"{source} has no images" in rejection(folder)
    put(smooth(), source / "a.png")
    inner = put(smooth(), source / "more" / "a.png")
    assert f"{inner.parent} is not a file" in rejection(folder)
    inner.unlink()
    inner.parent.rmdir()
    loose = put(smooth(), folder / "REAL" / "loose.png")
    assert f"{loose} is not in a source's folder" in rejection(folder)
    loose.unlink()
    (folder / "real_too").mkdir()
    assert f"{folder / 'real_too'} is not one of the folders REAL and FAKE" in rejection(folder)
    (folder / "real_too").rmdir()
    (folder / "FAKE").write_text("not a folder")
    assert f"{folder / 'FAKE'} is not one of the folders REAL and FAKE" in rejection(folder)
    (folder / "FAKE").unlink()
    assert list(list_sources(folder)) == [(0, "some")]
