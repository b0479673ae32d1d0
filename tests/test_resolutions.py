"""Larger pictures are cut, judged and learnt from at their own size, and compared with such as were scaled alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from benchmarks import resolutions
from benchmarks.resolutions import large_enough, score, unscaled
from detector import sources
from detector.data import Images
from detector.decoding import jpeg_round_trip
from detector.prediction import predict
from detector.progress import InputError
from detector.sources import load_sources, split_files
from detector.training import Recipe


def folder(place: Path, **sides: int) -> Path:
    """Thirty pictures of noise of each side, under such a source's name: photos=80 in REAL/photos."""
    rng = np.random.default_rng(0)
    for name, side in sides.items():
        source = place / "sources" / ("FAKE" if name.startswith("machine") else "REAL") / name
        source.mkdir(parents=True)
        for number in range(30):
            Image.fromarray(rng.integers(0, 256, (side, side + 5, 3), np.uint8)).save(source / f"{number:02d}.png")
    return place / "sources"


def test_sources_of_too_few_pixels_are_left_out(tmp_path):
    found = large_enough(folder(tmp_path, photos=80, small=63, machine=64))
    assert list(found) == ["REAL/photos", "FAKE/machine"]
    assert len(found["REAL/photos"]) == 30


def test_one_class_alone_is_not_enough(tmp_path):
    with pytest.raises(InputError, match="both classes"):
        large_enough(folder(tmp_path, photos=80, machine=40))
    with pytest.raises(InputError, match="both classes"):
        large_enough(tmp_path / "nothing")


def test_what_is_unscaled_is_the_middle_as_it_was(tmp_path):
    paths = large_enough(folder(tmp_path, photos=80, machine=64))["REAL/photos"]
    squares = unscaled(paths, 48)
    kept = split_files(paths)["validation"]
    assert squares.shape == (len(kept), 3, 48, 48)
    middle = Image.open(kept[0]).convert("RGB").crop((18, 16, 66, 64))  # of 85 x 80
    assert torch.equal(squares[0], TF.pil_to_tensor(jpeg_round_trip(middle)))


def test_fakes_are_set_against_photographs_scaled_alike(small_cnn, standin):
    parts = standin.test.pixels[:80].split(20)
    names = ["REAL/a", "FAKE/b", "REAL/a, unscaled", "FAKE/b, unscaled"]
    table = score(small_cnn, dict(zip(names, parts, strict=True))).set_index(["source", "metric"])
    for fake, real in ((1, 0), (3, 2)):
        above = predict(small_cnn, parts[fake])[:, None] > predict(small_cnn, parts[real])[None]
        assert table.loc[(names[fake], "auc"), "value"] == pytest.approx(float(above.float().mean()))
        assert table.loc[(names[real], "false_fake_rate"), "n"] == 20


@pytest.mark.parametrize("side", [48, 64, 128])
def test_a_source_is_brought_to_any_side(tmp_path, side):
    for parts in load_sources(folder(tmp_path, photos=80, machine=64), side=side).values():
        assert {images.pixels.shape[1:] for images in parts.values()} == {(3, side, side)}


def test_a_run_learns_and_scores_at_its_side(tmp_path, monkeypatch):
    """From files to figures, with makers that make nothing of what they see."""
    place = folder(tmp_path, photos=80, machine=64)

    def made(maker: str, photographs: Images) -> dict[str, Images]:
        named = np.array([f"made/FAKE/made_{maker}/{row}" for row in range(8)])
        return dict.fromkeys(("train", "validation"), replace(photographs[:8], files=named))

    monkeypatch.setattr(resolutions, "load_sources", lambda side: load_sources(place, side=side))
    monkeypatch.setattr(resolutions, "made_source", made)
    monkeypatch.setattr(sources, "VIEWS_A_SOURCE", 48)
    table = resolutions.run(48, Recipe(epochs=1, batch_size=16, subjects=0.0), large_enough(place), "small")
    assert set(table["source"]) == {
        *("REAL/photos", "FAKE/machine", "REAL/photos, unscaled", "FAKE/machine, unscaled"),
        *(f"FAKE/made_{maker}" for maker in resolutions.MET + resolutions.UNMET),
    }
    assert table["seconds"].gt(0).all()
    assert table["value"].between(0, 1).all()
