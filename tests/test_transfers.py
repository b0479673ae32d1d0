"""The transfer study: equal budgets, a table that keeps what it has, and subjects that give no class away."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from benchmarks import transfers
from benchmarks.transfers import FINE, Data, Variant, by_regression, by_the_loop, fill, keep, study, subjects_first
from detector import heads
from detector.models import CNN
from detector.training import Recipe

RECIPE = Recipe(epochs=1, batch_size=32)


@pytest.fixture
def data(standin, monkeypatch, tmp_path) -> Data:
    monkeypatch.setattr(heads, "FEATURES", tmp_path / "features")
    return Data(standin.train[:640], standin.validation[:100])


def small() -> CNN:
    return CNN(widths=(16, 16), stem=16)


@pytest.mark.parametrize(("seen", "epochs", "images"), [(300, 1, 300), (1000, 1, 1000), (1001, 2, 500), (3500, 4, 875)])
def test_a_budget_is_filled_by_fewer_pictures_or_more_epochs(seen, epochs, images):
    recipe = fill(RECIPE, seen, available=1000)
    assert (recipe.epochs, recipe.images) == (epochs, images)


def test_every_variant_has_its_network_and_a_recipe_of_its_own(monkeypatch):
    monkeypatch.setattr(transfers, "Transfer", lambda **arguments: arguments)
    variants = transfers.variants(FINE)
    networks = {name: variant.network() for name, variant in variants.items() if name.startswith("lite")}
    assert all(network["pretrained"] for network in networks.values())
    assert {network["size"] for network in networks.values()} == {32, 64, 96, 128, 224}
    assert variants["lite0-64-last"].recipe.frozen_blocks == transfers.LAST
    assert variants["lite0-64"].recipe.block_rate < 1 == variants["lite0-64-one-rate"].recipe.block_rate


def test_what_is_there_is_kept_and_what_is_named_is_run_again(data, monkeypatch, tmp_path):
    ran = []
    row = {"device": transfers.device_name(), "budget": 5.0}
    monkeypatch.setattr(
        transfers, "run", lambda name, *_: (ran.append(name), {"variant": name, **row, "n": len(ran)})[1]
    )
    monkeypatch.setattr(transfers, "variants", lambda fine: ["one", "two", "three"])
    table = tmp_path / "transfers.csv"
    keep({"variant": "two", **row, "n": 100}, table)
    keep({"variant": "one", **row, "budget": 9.0, "n": 200}, table)
    assert len(study(data, 5.0, [], table)) == 4
    assert ran == ["one", "three"]
    rows = study(data, 5.0, ["two"], table)
    assert ran == ["one", "three", "two"]
    assert len(rows) == 4
    assert 100 not in set(rows["n"])


@pytest.mark.parametrize(("learn", "least"), [(by_the_loop, 0.8), (by_regression, 0.55), (subjects_first, 0.8)])
def test_each_way_of_learning_learns_and_says_what_it_cost(data, monkeypatch, learn, least):
    """The regression reads features of random weights here: it can do little."""
    monkeypatch.setattr(transfers, "images_per_second", lambda *_: 1280.0)
    monkeypatch.setattr(transfers, "variants", lambda fine: {"one": Variant(small, RECIPE, learn)})
    row = transfers.run("one", data, 2.0)
    assert row["validation_accuracy"] > least
    assert row["low"] < row["validation_accuracy"] < row["high"] or row["validation_accuracy"] == 1
    assert row["images"] == (640 if learn is by_regression else 2560)
    assert row["images_per_second"] == pytest.approx(row["images"] / row["seconds"])
    assert row["parameters"] == sum(p.numel() for p in small().parameters())


def test_subjects_are_learnt_without_the_classes_and_under_a_fresh_head(data, monkeypatch):
    calls = []
    network = small()

    def note(start, recipe, given, seconds):
        calls.append((start.head.weight.clone(), given, seconds))
        taught = small()
        return taught, {"images": 10, "seconds": 1.5, "validation_accuracy": len(calls) / 10, "validation_loss": 0.5}

    monkeypatch.setattr(transfers, "_train", note)
    figures = subjects_first(network, RECIPE, data, 8.0)
    (_, first, half), (head, second, other_half) = calls
    assert half == other_half == 4.0
    assert not first.train.labels.any() and not first.validation.labels.any()
    assert torch.equal(first.train.subjects, data.train.subjects)
    assert second is data
    assert torch.equal(head, network.head.weight)
    assert figures == {"images": 20, "seconds": 3.0, "validation_accuracy": 0.2, "validation_loss": 0.5}


def test_speed_is_measured_over_ever_more_steps(data, monkeypatch):
    sizes = []

    def measured(network, few, validation, recipe, *, name):
        sizes.append(len(few))
        return network, pd.DataFrame({"images_per_second": [1.0, 1000.0]})

    monkeypatch.setattr(transfers, "train", measured)
    assert transfers.images_per_second(small(), replace(RECIPE, images=64), data, seconds=20.0) == 1000
    assert sizes == [128, 512]
