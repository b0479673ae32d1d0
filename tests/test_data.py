"""The sets: copies stay together, nothing is lost, and any picture is brought to the one form."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from detector import audit, data
from detector.data import Images, copy_groups, load_data, split, to_cifake
from detector.standin import REGIONS, SIDES, decode


def images_of(pixels: torch.Tensor) -> Images:
    count = len(pixels)
    labels = torch.arange(count) % 2
    return Images(pixels, labels, torch.zeros(count, dtype=torch.int64), np.array([str(row) for row in range(count)]))


def test_copies_never_straddle_a_split(monkeypatch):
    monkeypatch.setattr(data, "HELD_OUT", 100)
    distinct = torch.randint(0, 256, (300, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = distinct[torch.randint(300, (600,), generator=torch.Generator().manual_seed(1))]
    parts = split(images_of(pixels))
    groups = [{row.numpy().tobytes() for row in part.pixels} for part in parts]
    assert all(len(group) > 10 for group in groups)
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_split_keeps_every_picture_once(monkeypatch):
    monkeypatch.setattr(data, "HELD_OUT", 100)
    pixels = torch.randint(0, 256, (500, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    parts = split(images_of(pixels))
    assert [len(part) for part in parts] == [400, 50, 50]
    files = np.concatenate([part.files for part in parts])
    assert sorted(files.astype(int)) == list(range(500))
    for part in parts:
        rows = torch.tensor(part.files.astype(int))
        assert torch.equal(part.pixels, pixels[rows])
        assert torch.equal(part.labels, rows % 2)


def test_copy_groups_tell_one_changed_value():
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    pixels[1, 2, 31, 31] = 1
    groups = copy_groups(pixels)
    assert groups[0] == groups[2] != groups[1]


def test_standin_where_kaggle_is_out_of_reach(standin):
    assert standin.name == "stand-in"
    assert "Kaggle cannot be reached" in standin.note
    assert standin.counts().sum(axis=1).to_dict() == {name: count for name, (_, count) in REGIONS.items()}


def test_standin_regions_do_not_touch():
    edges = [columns for columns, _ in REGIONS.values()]
    assert all(left[1] <= right[0] for left, right in pairwise(edges))
    assert all(end - start >= max(SIDES) for start, end in edges)


def test_standin_is_the_same_each_time(standin):
    again = load_data()
    assert torch.equal(standin.test.pixels, again.test.pixels)


def test_standin_decoder_leaves_a_checkerboard():
    decoded = decode(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8))
    cells = [decoded[0, 0, row::2, column::2].unique().tolist() for row in (0, 1) for column in (0, 1)]
    assert sorted(cells) == [[81], [99], [99], [121]]


def test_cifake_folder_end_to_end(tiny_cifake, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAKE_DIR", str(tiny_cifake))
    monkeypatch.setattr(data, "HELD_OUT", 8)
    monkeypatch.setattr(data.cifake.load_cifake, "__defaults__", (tmp_path / "cache.safetensors",))
    loaded = load_data()
    assert loaded.name == "CIFAKE"
    for images in (loaded.train, loaded.validation, loaded.calibration, loaded.test):
        for picture, label, file in zip(images.pixels, images.labels, images.files, strict=True):
            assert data.CLASSES[label] in file
            assert np.array_equal(picture, np.asarray(Image.open(tiny_cifake / file)).transpose(2, 0, 1))
    deer = loaded.subject_names.index("deer")
    assert all(
        ("(5)" in file) == (subject == deer)
        for file, subject in zip(loaded.test.files, loaded.test.subjects, strict=True)
    )


def test_sample_draws_a_share_of_each_set(standin):
    drawn = standin.sample(600)
    assert len(drawn.train) == 600
    assert len(drawn.test) == len(standin.test) // 10
    assert standin.sample(None) is standin
    assert set(drawn.test.files) <= set(standin.test.files)


def test_copies_table_counts_planted_copies(standin):
    test = standin.test[:50]
    test.pixels[7] = standin.train.pixels[3]
    test.pixels[9] = test.pixels[8]
    table = audit.copies_table(data.replace(standin, test=test))
    assert table.loc["test"].xs("copy in train", level=1).sum() == 1
    assert table.loc["test"].xs("copy in the same set", level=1).sum() == 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_any_mode_comes_to_cifakes_form(mode):
    picture = Image.new("L", (100, 60), 200).convert(mode) if mode != "I;16" else Image.new("I;16", (100, 60), 51200)
    pixels = to_cifake(picture)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    expected = 255 if mode == "1" else 200
    if mode != "1":  # dithered
        assert (pixels.float() - expected).abs().max() <= 3


def test_transparent_is_white():
    assert to_cifake(Image.new("RGBA", (40, 40), (0, 0, 0, 0))).min() >= 253


def test_exif_turns_the_picture():
    picture = Image.new("RGB", (64, 64))
    picture.paste((255, 255, 255), (0, 0, 64, 32))  # white above
    exif = Image.Exif()
    exif[274] = 3  # to be turned by 180 degrees
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif)
    pixels = to_cifake(Image.open(stream))
    assert pixels[:, :12].float().mean() < 20
    assert pixels[:, 20:].float().mean() > 235


def test_wide_picture_gives_its_centre():
    picture = Image.new("RGB", (96, 32))
    picture.paste((255, 0, 0), (32, 0, 64, 32))
    red = to_cifake(picture)
    assert red[0].float().mean() > 245
    assert red[1:].float().mean() < 10


def test_spectrum_of_a_wave_peaks_at_its_frequency():
    wave = 127.5 + 100 * torch.cos(2 * torch.pi * 6 * torch.arange(32) / 32)
    pixels = wave.expand(1, 3, 32, 32).round().to(torch.uint8)
    assert int(audit.radial_spectra(pixels)[0].argmax()) + 1 == 6
