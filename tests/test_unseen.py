"""Unseen sources: every picture comes out in CIFAKE's form, in a fixed order, and what does not belong is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detector import pictures, unseen
from detector.data import Images
from detector.decoding import JPEG_SETTINGS
from detector.pictures import to_cifake
from detector.progress import InputError
from detector.unseen import COLUMNS, describe_sources, load_unseen


def picture(width: int = 48, height: int = 48, seed: int = 0) -> Image.Image:
    """Smooth colours, different for each seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def put(image: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def one(folder: Path) -> Images:
    (images,) = load_unseen(folder).values()
    return images


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "unseen"


def deep_grey() -> Image.Image:
    ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)
    return Image.fromarray(ramp)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (picture(), "a.png"),
        (picture(200, 100), "a.jpg"),
        (picture(20, 25), "a.png"),
        (picture().quantize(16), "a.png"),
        (picture().quantize(16), "a.gif"),
        (picture().convert("L"), "a.png"),
        (picture().convert("CMYK"), "a.tif"),
        (Image.merge("RGBA", [*picture().split(), picture(seed=1).getchannel(0)]), "a.png"),
        (deep_grey(), "a.png"),
        (picture(), "a.webp"),
    ],
)
def test_any_picture_comes_out_as_to_cifake_gives_it(folder, image, name):
    path = put(image, folder / "FAKE" / "some" / name)
    images = one(folder)
    assert images.pixels.dtype == torch.uint8
    assert images.pixels.shape == (1, 3, 32, 32)
    assert torch.equal(images.pixels[0], to_cifake(Image.open(path)))


def test_sixteen_bits_keep_their_range(folder):
    put(deep_grey(), folder / "REAL" / "some" / "a.png")
    pixels = one(folder).pixels
    assert pixels.min() < 10
    assert pixels.max() > 245


def test_exif_turns_the_picture(folder):
    image, exif = Image.new("RGB", (64, 64)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 64, 32))  # white above
    exif[274] = 3  # to be turned by 180 degrees
    put(image, folder / "REAL" / "some" / "a.jpg", exif=exif)
    pixels = one(folder).pixels[0].float()
    assert pixels[:, :12].mean() < 20
    assert pixels[:, 20:].mean() > 235


def test_the_format_is_told_by_content(folder):
    stream = io.BytesIO()
    picture().save(stream, "PNG")
    path = folder / "REAL" / "some" / "a.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(stream.getvalue())
    assert torch.equal(one(folder).pixels[0], to_cifake(picture()))


def test_codec_is_no_cue(folder):
    """A lossless picture gets what CIFAKE's encoder leaves behind; one that has it already changes far less."""
    put(picture(32, 32), folder / "REAL" / "some" / "a.png")
    path = put(picture(32, 32), folder / "REAL" / "some" / "b.jpg", **JPEG_SETTINGS)
    original, once = (
        torch.from_numpy(np.array(image)).permute(2, 0, 1).float() for image in (picture(32, 32), Image.open(path))
    )
    lossless, twice = one(folder).pixels.float()
    assert torch.equal(lossless, once)
    assert (twice - once).abs().mean() < (once - original).abs().mean() / 2


def test_order_labels_and_files(folder):
    names = {"FAKE/b": "10.png", "FAKE/a": "2.png", "REAL/z": "x.png", "FAKE/B": "c.png"}
    for seed, (source, name) in enumerate(names.items()):
        put(picture(seed=seed), folder / source / name)
    for name in ("9.png", "1.png", "01.png"):
        put(picture(seed=9), folder / "FAKE" / "b" / name)
    sources = load_unseen(folder)
    assert list(sources) == ["REAL/z", "FAKE/B", "FAKE/a", "FAKE/b"]
    assert sources["FAKE/b"].files.tolist() == [
        f"unseen/FAKE/b/{name}" for name in ("01.png", "1.png", "10.png", "9.png")
    ]
    assert sources["FAKE/b"].labels.tolist() == [1, 1, 1, 1]
    assert sources["REAL/z"].labels.tolist() == [0]
    assert sources["REAL/z"].labels.dtype == sources["REAL/z"].subjects.dtype == torch.int64
    assert sources["FAKE/b"].subjects.tolist() == [-1, -1, -1, -1]
    for images in sources.values():
        for pixels, file in zip(images.pixels, images.files, strict=True):
            assert torch.equal(pixels, to_cifake(Image.open(folder.parent / file)))


def test_more_pictures_than_a_chunk_stay_in_order(folder, monkeypatch):
    monkeypatch.setattr(unseen, "CHUNK", 3)
    for seed in range(11):
        put(picture(seed=seed), folder / ("REAL/some", "FAKE/other")[seed % 2] / f"{seed:02d}.png")
    sources = load_unseen(folder)
    for source, first in (("REAL/some", 0), ("FAKE/other", 1)):
        expected = torch.stack([to_cifake(picture(seed=seed)) for seed in range(first, 11, 2)])
        assert torch.equal(sources[source].pixels, expected)


def test_hidden_files_are_skipped(folder):
    put(picture(), folder / "REAL" / "some" / "a.png")
    for name in (".DS_Store", "FAKE/.DS_Store", "REAL/Thumbs.db", "REAL/some/._a.png", "REAL/some/desktop.ini"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    (folder / "__MACOSX").mkdir()
    assert {source: len(images) for source, images in load_unseen(folder).items()} == {"REAL/some": 1}


def test_no_folder_and_an_empty_one_hold_no_sources(folder):
    assert load_unseen(folder) == {}
    (folder / "REAL").mkdir(parents=True)
    assert load_unseen(folder) == {}
    assert describe_sources({}, images_of(3)).columns.tolist() == list(COLUMNS)


def refusal(folder: Path) -> str:
    """The one sentence that `load_unseen` refuses with."""
    with pytest.raises(InputError) as caught:
        load_unseen(folder)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ". " not in sentence
    return sentence


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [(truncated, "damaged"), (lambda data: b"no picture at all", "format"), (lambda data: b"", "format")],
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_a_file_that_is_no_picture_is_named(folder, change, words, format_):
    put(picture(), folder / "REAL" / "some" / "a.png")
    stream = io.BytesIO()
    picture(200, 200).save(stream, format_)
    path = folder / "FAKE" / "other" / "broken.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(change(stream.getvalue()))
    sentence = refusal(folder)
    assert str(path) in sentence
    assert words in sentence


def test_too_many_pixels_are_refused(folder, monkeypatch):
    path = put(picture(), folder / "REAL" / "some" / "a.png")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 48 * 48)
    assert len(one(folder)) == 1
    monkeypatch.setattr(pictures, "MAX_PIXELS", 48 * 48 - 1)
    assert f"{path}: The picture has too many pixels" in refusal(folder)


def test_fractions_without_a_scale_are_refused(folder):
    path = put(Image.new("F", (40, 40), 0.5), folder / "REAL" / "some" / "a.tif")
    assert f"{path}: The picture's values are fractions" in refusal(folder)


def test_each_misplaced_thing_is_named(folder):
    source = folder / "REAL" / "some"
    source.mkdir(parents=True)
    assert f"{source} holds no pictures" in refusal(folder)
    put(picture(), source / "a.png")
    inner = put(picture(), source / "more" / "a.png")
    assert f"{inner.parent} is no file" in refusal(folder)
    inner.unlink()
    inner.parent.rmdir()
    loose = put(picture(), folder / "REAL" / "loose.png")
    assert f"{loose} is no folder" in refusal(folder)
    loose.unlink()
    (folder / "real_too").mkdir()
    assert f"{folder / 'real_too'} is neither REAL nor FAKE" in refusal(folder)
    (folder / "real_too").rmdir()
    (folder / "FAKE").write_text("no folder")
    assert f"{folder / 'FAKE'} is neither REAL nor FAKE" in refusal(folder)
    (folder / "FAKE").unlink()
    assert list(load_unseen(folder)) == ["REAL/some"]


def images_of(count: int) -> Images:
    """REAL and FAKE noise in turn, of which no file exists."""
    pixels = np.random.default_rng(5).integers(0, 256, (count, 3, 32, 32), np.uint8)
    labels = torch.arange(count) % 2
    return Images(torch.from_numpy(pixels), labels, torch.zeros_like(labels), np.array(["none"] * count))


def high_frequencies(pixels: np.ndarray) -> float:
    """By hand: dB of each ring of the windowed spectrum from 9 to 16 cycles, their mean, and the median picture's."""
    luma = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), (0, 1))  # (N, 32, 32)
    window = np.sin(np.pi * np.arange(32) / 32) ** 2
    axis = np.minimum(np.arange(32), 32 - np.arange(32))
    ring = np.round(np.hypot(axis[:, None], axis))
    levels = []
    for row in luma:
        power = np.abs(np.fft.fft2((row - row.mean()) * np.outer(window, window))) ** 2
        levels.append(np.mean([10 * np.log10(power[ring == k].mean()) for k in range(9, 17)]))
    return np.median(levels)


def test_description_against_numpy(folder):
    for seed, (width, height) in enumerate([(64, 48), (40, 40), (50, 500)]):
        put(picture(width, height, seed), folder / "REAL" / "some" / f"{seed}.png")
    for seed, name in enumerate("abcd"):
        put(picture(seed=10 + seed // 2 * seed), folder / "FAKE" / "other" / f"{name}.png")  # a and b are copies
    sources, reference = load_unseen(folder), images_of(7)
    table = describe_sources(sources, reference, folder)
    assert table.index.tolist() == ["for comparison, REAL", "for comparison, FAKE", "REAL/some", "FAKE/other"]
    assert table["class"].tolist() == ["REAL", "FAKE"] * 2
    assert table["pictures"].tolist() == [*np.bincount(reference.labels), 3, 4]
    assert table["sides"].tolist() == ["32×32", "32×32", "40×40 to 50×500", "48×48"]
    assert table["copies"].tolist()[2:] == [0, 2]
    assert table["high frequencies (dB)"].iloc[0] == 0
    noise = high_frequencies(reference.pixels[::2].numpy())
    for source, images in sources.items():
        pixels = images.pixels.numpy()
        luma = np.tensordot([0.299, 0.587, 0.114], pixels.astype(float), (0, 1))
        assert np.allclose(table.loc[source, ["red", "green", "blue"]].astype(float), pixels.mean((0, 2, 3)), atol=1e-3)
        assert np.isclose(table.loc[source, "deviation"], luma.std(), atol=1e-3)
        assert np.isclose(table.loc[source, "high frequencies (dB)"], high_frequencies(pixels) - noise, atol=0.02)
        assert table.loc[source, "high frequencies (dB)"] < -10  # smooth colours beside noise
