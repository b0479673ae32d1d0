"""Model files: saving, loading, metadata, and errors for damaged or foreign files."""

import pytest
import torch
from safetensors.torch import save_file

from detector.core import files
from detector.core.console import UserError
from detector.inference.predict import predict
from detector.models.weights import RELEASED, load_model, read_metadata, released_models, round_weights, save_model

PATHS = {name: files.MODELS_DIR / f"{name}.safetensors" for name in RELEASED}


def test_a_saved_model_loads_from_its_file_alone(small_cnn, tmp_path):
    path = tmp_path / "small.safetensors"
    small_cnn.half().float().temperature.fill_(1.2345)  # weights as stored, in fp16; scalars keep their precision
    save_model(small_cnn, path, recipe={"epochs": 3}, data="test", reproducible="a command")
    loaded, rounded = load_model(path), round_weights(small_cnn)
    pixels = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    assert not loaded.training
    assert loaded.temperature == small_cnn.temperature
    assert torch.equal(predict(loaded, pixels), predict(rounded, pixels))
    assert torch.allclose(predict(loaded, pixels), predict(small_cnn, pixels), atol=1e-6)
    metadata = read_metadata(path)
    assert metadata["architecture"] == "CNN"
    assert metadata["config"] == small_cnn.config
    assert metadata["recipe"] == {"epochs": 3}
    assert (metadata["data"], metadata["reproducible"]) == ("test", "a command")
    assert "torch" in metadata["versions"]


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"no model", lambda data: b""])
def test_a_damaged_file_is_an_error(small_cnn, tmp_path, damage):
    path = tmp_path / "small.safetensors"
    save_model(small_cnn, path, recipe={}, data="test")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"small\.safetensors is damaged"):
        load_model(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"architecture": "CNN"},
        {"architecture": "Other", "config": "{}", "recipe": "{}"},
        {"architecture": "CNN", "config": '{"mirror": true}', "recipe": "{}"},
        {"architecture": "CNN", "config": "{}", "recipe": "{}"},  # its tensors are not there
        {"architecture": "CNN", "config": "no JSON", "recipe": "{}"},
    ],
)
def test_a_file_of_another_project_is_an_error(tmp_path, metadata):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(UserError, match="is not a model of this project"):
        load_model(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match="There is no model at"):
        load_model(tmp_path / "none.safetensors")


def test_a_failed_write_is_an_error_and_leaves_no_file(small_cnn, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="could not be written"):
        save_model(small_cnn, tmp_path / "file" / "model.safetensors", recipe={}, data="")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_released_models_are_those_with_a_file_in_order(small_cnn, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MODELS_DIR", tmp_path)
    for name in ("transfer", "cnn", "other"):
        save_model(small_cnn, tmp_path / f"{name}.safetensors", recipe={}, data="test")
    assert list(released_models()) == ["cnn", "transfer"]


@pytest.mark.parametrize("name", RELEASED)
def test_each_released_file_loads_and_states_how_it_was_trained(name):
    model, metadata = load_model(PATHS[name]), read_metadata(PATHS[name])
    assert metadata["config"] == model.config
    assert metadata["recipe"]["epochs"] >= 1
    assert "CIFAKE" in metadata["data"]
    assert metadata["reproducible"].startswith((f"python -m detector train {name}", "no: "))
    assert 0.5 < model.confidence_threshold <= 1
    assert 0 < model.ood_threshold < 2
    assert torch.allclose(model.feature_bank.norm(dim=1), torch.ones(()), atol=1e-3)
