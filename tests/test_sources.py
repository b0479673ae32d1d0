"""Further sources: the same way to CIFAKE's form for both classes, and no picture in two sets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detector import sources
from detector.pictures import to_cifake
from detector.progress import InputError
from detector.sources import draw_view, load_sources


def picture(side: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


@pytest.fixture
def folder(tmp_path) -> Path:
    """The same twenty pictures as photographs and as fakes."""
    for seed in range(20):
        for name in ("REAL/a", "FAKE/b"):
            (tmp_path / "sources" / name).mkdir(parents=True, exist_ok=True)
            picture(64, seed).save(tmp_path / "sources" / name / f"{seed:02d}.png")
    return tmp_path / "sources"


def test_no_folder_is_no_source(tmp_path):
    assert load_sources(tmp_path / "nothing") == {}


def test_a_pictures_views_are_in_one_set(folder):
    parts = load_sources(folder)["REAL/a"]
    assert {part: len(images) for part, images in parts.items()} == {
        "train": 16 * sources.MOST_VIEWS,
        "validation": 2,
        "calibration": 2,
    }
    files = [set(images.files) for images in parts.values()]
    assert len(set.union(*files)) == sum(map(len, files)) == 20
    assert "sources/REAL/a/00.png" in set.union(*files)


def test_views_say_nothing_of_the_class(folder):
    """The same pictures come out the same as REAL and as FAKE; only the label differs."""
    real, fake = load_sources(folder).values()
    for part in real:
        assert torch.equal(real[part].pixels, fake[part].pixels)
        assert real[part].labels.eq(0).all()
        assert fake[part].labels.eq(1).all()


def test_the_first_view_is_the_whole_and_the_others_differ(folder):
    train = load_sources(folder)["REAL/a"]["train"]
    name = Path(train.files[0]).name
    whole, *others = train.pixels[: sources.MOST_VIEWS]
    assert torch.equal(whole, to_cifake(Image.open(folder / "REAL" / "a" / name)))
    assert len({view.numpy().tobytes() for view in (whole, *others)}) == sources.MOST_VIEWS


def test_every_source_has_about_as_many(folder, monkeypatch):
    monkeypatch.setattr(sources, "VIEWS_A_SOURCE", 50)
    assert len(load_sources(folder)["FAKE/b"]["train"]) == 16 * 3


@pytest.mark.parametrize("side", [20, 32, 33, 500])
def test_views_of_any_size(side):
    rng = np.random.default_rng(0)
    views = [draw_view(picture(side), rng) for _ in range(20)]
    assert {(view.dtype, view.shape) for view in views} == {(torch.uint8, (3, 32, 32))}


def test_small_pictures_are_not_enlarged_where_they_need_not_be(monkeypatch):
    """Of 40 pixels, squares of 32 at least are drawn."""
    sides = []
    monkeypatch.setattr(sources, "jpeg_round_trip", lambda image: image)
    crop = Image.Image.crop
    monkeypatch.setattr(Image.Image, "crop", lambda image, box: sides.append(box[2] - box[0]) or crop(image, box))
    rng = np.random.default_rng(0)
    for _ in range(50):
        draw_view(picture(40), rng)
    assert min(sides) == 32
    assert max(sides) > 36


def test_what_is_no_picture_is_named(folder):
    (folder / "REAL" / "a" / "99.png").write_text("no picture")
    with pytest.raises(InputError, match=r"99\.png"):
        load_sources(folder)


def test_a_source_of_too_few_is_named(folder):
    for path in sorted((folder / "REAL" / "a").iterdir())[5:]:
        path.unlink()
    with pytest.raises(InputError, match="a has 5 pictures"):
        load_sources(folder)
