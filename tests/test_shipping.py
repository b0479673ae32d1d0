"""What ships: its files say by which recipe they were made, and a lean keeps what it promises."""

import hashlib

import pandas as pd
import pytest
import torch
from safetensors import safe_open

from benchmarks.ensembles import ENSEMBLE, MEMBERS, TABLE, members_of
from benchmarks.seeds import WEIGHTS, recipe_of
from detector import shipping
from detector.prediction import predict
from detector.shipping import TRAININGS, finish, train_shipped
from detector.training import Recipe, train_and_keep
from detector.weights import MODELS_DIR, load_model, save_model

FILES = sorted([*MODELS_DIR.glob("*.safetensors"), *WEIGHTS.glob("*.safetensors")])


@pytest.mark.parametrize("path", [path for path in FILES if path != ENSEMBLE], ids=str)
def test_each_file_names_a_whole_recipe(path):
    assert recipe_of(path).epochs >= 1


def test_the_ensemble_is_the_best_set_on_validation_of_files_that_are_here():
    scored = pd.read_csv(TABLE).query("set == 'validation'").set_index("members")["accuracy"]
    best = MEMBERS[scored.idxmax()]
    assert members_of(ENSEMBLE) == {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in best}


@pytest.mark.parametrize("name", TRAININGS)
def test_the_shipped_recipes_are_those_of_the_files(name):
    assert recipe_of(MODELS_DIR / f"{name}.safetensors") == TRAININGS[name].recipe


@pytest.mark.parametrize("name", TRAININGS)
def test_the_shipped_networks_are_those_of_their_trainings(name):
    start = TRAININGS[name].network
    network = load_model(MODELS_DIR / f"{start}.safetensors") if isinstance(start, str) else start()
    assert network.config == load_model(MODELS_DIR / f"{name}.safetensors").config


def test_a_lean_is_kept_by_the_file(tmp_path, standin, small_cnn):
    path = tmp_path / "leaning.safetensors"
    made = {"recipe": {"epochs": 1}, "data": "stand-in"}
    finish(small_cnn, standin, standin, path, made, false_fake=0.1)
    photographs = standin.calibration.pixels[standin.calibration.labels == 0]
    assert (predict(load_model(path), photographs) >= 0.5).float().mean() <= 0.1
    assert not path.with_suffix(".part").exists()


def test_what_goes_on_from_another_run_says_so(tmp_path, standin, small_cnn, monkeypatch):
    save_model(small_cnn, tmp_path / "first.safetensors", recipe={"epochs": 1}, data="stand-in")
    monkeypatch.setattr(shipping, "MODELS_DIR", tmp_path)
    given = []
    monkeypatch.setattr(
        shipping,
        "train_and_keep",
        lambda network, *rest, **how: given.append(network) or train_and_keep(network, *rest, **how),
    )
    training = shipping.Training("first", Recipe(epochs=1, batch_size=32, images=64))
    monkeypatch.setitem(TRAININGS, "second", training)
    train_shipped("second", standin, tmp_path / "second.safetensors")
    with safe_open(tmp_path / "second.safetensors", "pt") as file:
        assert file.metadata()["data"].endswith("images, after first")
    assert torch.allclose(given[0].stem[0].weight, small_cnn.stem[0].weight, atol=1e-3)


def test_a_seed_is_the_recipes_own_unless_told(tmp_path, standin, small_cnn, monkeypatch):
    recipe = Recipe(epochs=1, batch_size=32, images=64, seed=3)
    monkeypatch.setitem(TRAININGS, "tiny", shipping.Training(lambda: small_cnn, recipe))
    for seed, expected in ((None, 3), (5, 5)):
        path = tmp_path / f"{seed}.safetensors"
        train_shipped("tiny", standin, path, seed=seed)
        assert recipe_of(path).seed == expected
        assert torch.isfinite(load_model(path).temperature)
