"""Released models: trained by their recipe, calibrated, and written with how to reproduce them."""

from dataclasses import replace

import pytest
import torch

from detector.core import files
from detector.models.cnn import CNN
from detector.models.weights import load_model, read_metadata
from detector.training import release
from detector.training.recipes import RELEASES, Recipe, Release
from detector.training.release import train_release

RECIPE = Recipe(epochs=1, batch_size=32, images=64, seed=3)


@pytest.fixture
def tiny_release(monkeypatch) -> str:
    monkeypatch.setitem(RELEASES, "tiny", Release(lambda: CNN(widths=(16, 16), stem=16), RECIPE))
    return "tiny"


@pytest.mark.parametrize("changes", [{}, {"seed": 5}])
def test_the_file_has_the_recipe_with_its_changes(tiny_release, tmp_path, toy, changes):
    path = tmp_path / "tiny.safetensors"
    history = train_release(tiny_release, toy, path, **changes)
    model, metadata = load_model(path), read_metadata(path)
    assert Recipe(**metadata["recipe"]) == replace(RECIPE, **changes)
    assert metadata["data"] == f"toy, {len(toy.train):,} images"
    assert (metadata["reproducible"] == "python -m detector train tiny") == (not changes)
    assert len(history) == 1
    assert torch.isfinite(model.temperature)
    assert model.ood_threshold < 2  # calibrated
    assert list(tmp_path.rglob("*.*")) == [path]  # the checkpoint is deleted


def test_the_seed_determines_the_weights(tiny_release, tmp_path, toy):
    weights = []
    for run, changes in enumerate(({"seed": 3}, {}, {"seed": 5})):
        train_release(tiny_release, toy, tmp_path / f"{run}.safetensors", **changes)
        weights.append(load_model(tmp_path / f"{run}.safetensors").stem[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_error_after_training_keeps_the_checkpoint(tiny_release, tmp_path, toy, monkeypatch):
    monkeypatch.setattr(release, "calibrate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train_release(tiny_release, toy, tmp_path / "tiny.safetensors")
    assert len(list(files.CHECKPOINTS_DIR.iterdir())) == 1
    assert not (tmp_path / "tiny.safetensors").exists()


def test_a_smoke_run_writes_only_into_build(tiny_release, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUILD_DIR", tmp_path / "build")
    monkeypatch.setattr(files, "MODELS_DIR", tmp_path / "models")
    path = release.release(tiny_release, smoke=True)
    assert path == tmp_path / "build" / "smoke" / "tiny.safetensors"
    assert read_metadata(path)["reproducible"].startswith("no: ")
    assert not (tmp_path / "models").exists()
