"""Several sources: what is left out is left out wholly, the sets stay apart, the test folder stays what it is."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from detector import making, sources, wild
from detector.calibration import lean
from detector.makers import Denoiser
from detector.making import MAKERS
from detector.prediction import predict
from detector.progress import InputError
from detector.wild import PARTS, gather, join, several_sources


@pytest.fixture
def dataset(standin, tmp_path, monkeypatch):
    """The stand-in under CIFAKE's names, photographs and fakes beside it, and makers that learnt nothing."""
    rng = np.random.default_rng(0)
    for name in ("REAL/photos", "FAKE/machine"):
        (tmp_path / "sources" / name).mkdir(parents=True)
        for number in range(30):
            noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
            noise.save(tmp_path / "sources" / name / f"{number}.png")
    monkeypatch.setattr(wild, "load_sources", lambda: sources.load_sources(tmp_path / "sources"))
    monkeypatch.setattr(wild, "MADE", 100)
    monkeypatch.setattr(making, "MADE", 100)
    tiny = replace(MAKERS["denoiser"], network=partial(Denoiser, (8, 8, 8), blocks=1))
    brief = {"autoencoder_nearest": MAKERS["autoencoder_nearest"], "denoiser": tiny}
    monkeypatch.setattr(making, "MAKERS", brief)
    monkeypatch.setattr(wild, "MAKERS", brief)
    for name, maker in brief.items():
        making.save_maker(
            maker.network(), tmp_path / f"{name}.safetensors", name, standin.train.pixels, steps=0, seed=0
        )
    monkeypatch.setattr(wild, "made_pictures", partial(making.made_pictures, folder=tmp_path / "made", makers=tmp_path))
    named = [f"train/{'FAKE' if label else 'REAL'}/{row}.jpg" for row, label in enumerate(standin.train.labels)]
    return replace(standin, train=replace(standin.train, files=np.array(named)))


def test_all_sources_are_there(dataset):
    gathered = gather(dataset)
    assert list(gathered) == [
        "REAL/cifake",
        "FAKE/cifake",
        "REAL/photos",
        "FAKE/machine",
        "FAKE/made_autoencoder_nearest",
        "FAKE/made_denoiser",
    ]
    for name, parts in gathered.items():
        assert {int(label) for part in parts.values() for label in part.labels} == {int(name.startswith("FAKE"))}
        files = [set(images.files) for images in parts.values()]
        assert len(set.union(*files)) == sum(map(len, files))


def test_without_photographs_goes_what_was_made_of_them(dataset):
    gathered = gather(dataset)
    made = gathered["FAKE/made_denoiser"]["train"].files
    assert any("REAL/photos/" in file for file in made)
    assert any("train/REAL/" in file for file in made)
    kept = join(gathered, "train", without=["REAL/photos"])
    assert not any("REAL/photos" in file for file in kept.files)
    assert any(file.startswith("made/") for file in kept.files)
    assert len(kept) < len(join(gathered, "train"))


def test_without_makers_everything_else_stays(dataset):
    gathered = gather(dataset)
    kept = join(gathered, "train", without=["FAKE/made"])
    assert len(kept) == sum(len(parts["train"]) for name, parts in gathered.items() if "made" not in name)
    fewer = join(gathered, "train", without=["FAKE/made", "FAKE/machine"])
    assert len(fewer) == len(kept) - len(gathered["FAKE/machine"]["train"])


def test_the_test_folder_stays_what_it_is(dataset):
    several = several_sources(dataset)
    assert several.test is dataset.test
    for part in PARTS:
        assert len(getattr(several, part)) > len(getattr(dataset, part))


def test_without_sources_it_says_where_they_belong(standin, monkeypatch):
    monkeypatch.setattr(wild, "load_sources", dict)
    with pytest.raises(InputError, match="sources has no pictures"):
        gather(standin)


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_lean_keeps_to_its_share(small_cnn, standin, share):
    lean(small_cnn, standin.calibration, share)
    photographs = standin.calibration.pixels[standin.calibration.labels == 0]
    called = (predict(small_cnn, photographs) >= 0.5).float().mean()
    assert called == pytest.approx(share, abs=1.5 / len(photographs))


def test_a_lean_is_never_towards_fake(small_cnn, standin):
    with torch.no_grad():
        small_cnn.head.bias -= 1000
    before = small_cnn.head.bias.clone()
    lean(small_cnn, standin.calibration, 0.02)
    assert torch.equal(small_cnn.head.bias, before)
