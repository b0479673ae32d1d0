"""The transfer study: equal times, rows that are kept, the linear probe, and object classes before labels."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from benchmarks import transfer
from benchmarks.study import Study, single
from benchmarks.transfer import (
    FINE,
    REGULARISATION,
    Variant,
    classes_first,
    fill,
    fine_tune,
    linear_probe,
    measure,
    probe,
)
from detector.core import files
from detector.data.dataset import Dataset
from detector.inference.predict import predict_features
from detector.metrics.intervals import metric_table
from detector.models.cnn import CNN
from detector.training.recipes import Recipe

RECIPE = Recipe(epochs=1, batch_size=32)


@pytest.fixture
def data(toy) -> Dataset:
    return replace(toy, train=toy.train[:640], validation=toy.validation[:100])


def small() -> CNN:
    return CNN(widths=(16, 16), stem=16)


@pytest.mark.parametrize(("seen", "epochs", "images"), [(300, 1, 300), (1000, 1, 1000), (1001, 2, 500), (3500, 4, 875)])
def test_a_time_is_filled_by_fewer_images_or_more_epochs(seen, epochs, images):
    recipe = fill(RECIPE, seen, available=1000)
    assert (recipe.epochs, recipe.images) == (epochs, images)


def test_every_variant_has_its_network_and_recipe(monkeypatch):
    monkeypatch.setattr(transfer, "Transfer", lambda **arguments: arguments)
    variants = transfer.variants(FINE)
    networks = {name: variant.network() for name, variant in variants.items() if name.startswith("Lite")}
    assert all(network["pretrained"] for network in networks.values())
    assert {network["size"] for network in networks.values()} == {32, 64, 96, 128, 224}
    assert networks["Lite0 64 px, batch norm trained"]["train_batch_norm"]
    assert variants["Lite0 64 px, last stages trained"].recipe.frozen_blocks == transfer.FROZEN_BLOCKS
    assert variants["Lite0 64 px"].recipe.layer_decay < 1
    assert variants["Lite0 64 px, one learning rate"].recipe.layer_decay == 1
    assert set(transfer.SMOKE_VARIANTS) < set(variants)


def test_rows_are_kept_and_missing_ones_measured(data, monkeypatch, tmp_path):
    measured = []

    def note(variant, data, seconds):
        measured.append((variant.network, seconds))
        return metric_table({"accuracy": single(len(measured))})

    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path)
    monkeypatch.setattr(Study, "load_data", lambda study: data)
    monkeypatch.setattr(transfer, "measure", note)
    names = ["one", "two", "three"]
    monkeypatch.setattr(transfer, "variants", lambda *_, **__: {name: Variant(name, RECIPE, probe) for name in names})
    transfer.main(["two", "--seconds", "5"])
    transfer.main(["one", "--seconds", "9"])
    transfer.main(["--seconds", "5"])
    assert measured == [("two", 5), ("one", 9), ("one", 5), ("three", 5)]
    table = Study("transfer").results()
    assert sorted(table["value"]) == [1, 2, 3, 4]
    assert set(table["slice"]) == {"budget=5 s", "budget=9 s"}


@pytest.mark.parametrize(("fit", "least"), [(fine_tune, 0.8), (probe, 0.5), (classes_first, 0.8)])
def test_each_way_of_training_learns_and_has_its_cost(data, monkeypatch, fit, least):
    """The probe reads features of random weights here, so that its accuracy is low."""
    monkeypatch.setattr(transfer, "images_per_second", lambda *_: 1280.0)
    table = measure(Variant(small, RECIPE, fit), data, 2.0)
    accuracy, value = table.loc["accuracy"], table["value"]
    assert accuracy["value"] > least
    assert accuracy["low"] < accuracy["value"] < accuracy["high"] or accuracy["value"] == 1
    assert accuracy["n"] == 100
    assert value["images"] == (640 if fit is probe else 2560)
    assert value["images_per_second"] == pytest.approx(value["images"] / value["seconds"])
    assert value["parameters"] == sum(p.numel() for p in small().parameters())


def test_object_classes_are_trained_without_labels_and_then_with_a_fresh_head(data, monkeypatch):
    calls = []
    network = small()

    def note(start, recipe, given, seconds):
        calls.append((start.head.weight.clone(), given, seconds))
        return small(), {"images": 10, "seconds": 1.5, "accuracy": len(calls) / 10, "loss": 0.5}

    monkeypatch.setattr(transfer, "fine_tune", note)
    _, metrics = classes_first(network, RECIPE, data, 8.0)
    (_, first, half), (head, second, other_half) = calls
    assert half == other_half == 4.0
    assert not first.train.labels.any() and not first.validation.labels.any()
    assert torch.equal(first.train.object_class, data.train.object_class)
    assert second is data
    assert torch.equal(head, network.head.weight)
    assert metrics == {"images": 20, "seconds": 3.0, "accuracy": 0.2, "loss": 0.5}


def test_the_last_of_equally_accurate_evaluations_counts(data, monkeypatch):
    history = pd.DataFrame(
        {"validation_accuracy": [0.9, 0.9, 0.8], "validation_loss": [1.0, 2.0, 3.0], "images_per_second": 64.0},
        index=[1.0, 2.0, 3.0],
    )
    monkeypatch.setattr(transfer, "images_per_second", lambda *_: 640.0)
    monkeypatch.setattr(transfer, "train", lambda network, *_, **__: (network, history))
    _, metrics = fine_tune(small(), RECIPE, data, 1.0)
    assert (metrics["accuracy"], metrics["loss"], metrics["images"]) == (0.9, 2.0, 3 * 640)


def test_speed_is_measured_with_more_steps_until_they_take_long_enough(data, monkeypatch):
    sizes = []

    def measured(network, few, validation, recipe, *, name):
        sizes.append(len(few))
        return network, pd.DataFrame({"images_per_second": [1.0, 1000.0]})

    monkeypatch.setattr(transfer, "train", measured)
    assert transfer.images_per_second(small(), replace(RECIPE, images=64), data, seconds=20.0) == 1000
    assert sizes == [128, 512]


def test_the_linear_probe_is_scikit_learns_regression_on_standardised_features(small_cnn, toy):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    images = toy.train[:400]
    small_cnn.temperature.fill_(2)
    features = predict_features(small_cnn, images.pixels, normalise=False)
    features = features * torch.logspace(-1, 1, features.shape[1]) + 3  # different scales, not centred
    model = linear_probe(small_cnn, features, images.labels)
    scale = StandardScaler().fit(features.numpy())
    reference = LogisticRegression(C=REGULARISATION, max_iter=1000)
    reference.fit(scale.transform(features.numpy()), images.labels.numpy())
    expected = reference.decision_function(scale.transform(features.numpy()))
    with torch.no_grad():
        assert model.classify(features).numpy() == pytest.approx(expected, abs=1e-3)
    assert not torch.equal(model.head.weight, small_cnn.head.weight)  # a copy


def test_an_unknown_variant_is_an_error(capsys):
    with pytest.raises(SystemExit):
        transfer.main(["lite9"])
    assert "no variant is named lite9" in capsys.readouterr().err


def test_committed_results_have_every_variant():
    assert set(Study("transfer").results()["model"]) == set(transfer.variants(FINE))
