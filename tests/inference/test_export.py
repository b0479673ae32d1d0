"""ONNX files: PyTorch's probabilities, the one sigmoid, and metadata from which the rule of abstention follows."""

import hashlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from detector.core import files
from detector.core.console import UserError
from detector.data.images import to_array
from detector.data.views import overview, scored_crops
from detector.inference import export
from detector.inference.export import write_onnx
from detector.inference.native import predict_native
from detector.inference.predict import predict, predict_features, predict_logits, predict_ood_scores, probabilities
from detector.models.base import Detector
from detector.models.encoder import FEATURES, encode, encoder_bytes
from detector.models.native import Native
from detector.models.weights import load_model
from detector.training.embeddings import read_embeddings

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
TOLERANCE = 1e-4


def outputs(session: onnxruntime.InferenceSession, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of one batch by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: batch}), strict=True))


def assert_same(session: onnxruntime.InferenceSession, model: Detector, pixels: torch.Tensor) -> None:
    """Assert that P(FAKE) of all images and OOD scores of some are PyTorch's, in batches of uneven size."""
    batches = [outputs(session, batch.numpy()) for batch in (pixels[:1], pixels[1:8], *pixels[8:].split(100))]
    values, ood_scores = (np.concatenate([batch[name] for batch in batches]) for name in ("probability", "ood_score"))
    expected = predict(model, pixels)
    assert 0.1 < (expected >= 0.5).float().mean() < 0.9 and expected.std() > 0.01
    assert values.dtype == ood_scores.dtype == np.float32 and values.shape == ood_scores.shape == (len(pixels),)
    assert np.abs(values - expected.numpy()).max() < TOLERANCE
    assert np.abs(ood_scores[:64] - predict_ood_scores(model, pixels[:64]).numpy()).max() < TOLERANCE


def test_probabilities_are_those_of_pytorch_on_a_thousand_images(small_cnn, toy, tmp_path):
    small_cnn.temperature.fill_(3)
    small_cnn.confidence_threshold.fill_(0.75)
    small_cnn.flip_tta = True
    small_cnn.feature_bank.copy_(predict_features(small_cnn, toy.train.pixels[:500]))
    pixels = toy.test.pixels[:1000]
    small_cnn.head.bias.data -= 3 * predict_logits(small_cnn, pixels).median()
    path = write_onnx(small_cnn, tmp_path / "cnn.onnx", {"model": "cnn"})
    assert list(tmp_path.iterdir()) == [path] and len(pixels) == 1000
    session = onnxruntime.InferenceSession(path)
    assert_same(session, small_cnn, pixels)
    thresholds = json.loads(session.get_modelmeta().custom_metadata_map["thresholds"])
    assert thresholds == {name: getattr(small_cnn, name).item() for name in ("ood_threshold", "confidence_threshold")}


@pytest.mark.parametrize(("name", "count"), [("cnn", 1000), ("transfer", 20)])
def test_probabilities_are_those_of_pytorch_on_cifake(name, count, exported, loaded_cifake):
    rows = torch.randperm(len(loaded_cifake.validation), generator=torch.Generator().manual_seed(0))[:count]
    pixels, model = loaded_cifake.validation.pixels[rows], load_model(files.model_file(name))
    assert_same(onnxruntime.InferenceSession(exported(name)), model, pixels)


def test_the_head_of_native_on_a_thousand_stored_features(exported):
    model, features = load_model(files.model_file("native")), read_embeddings().features
    features = np.ascontiguousarray(features[:: len(features) // 1000][:1000])
    out = outputs(onnxruntime.InferenceSession(exported("native")), features)
    with torch.inference_mode():
        rows = torch.from_numpy(features)
        logits, distances, scores = model.classify(rows), model.knn_distance(rows), model.no_photo_score(rows)
    assert probabilities(logits).std() > 0.1
    assert np.abs(out["probability"] - probabilities(logits).numpy()).max() < TOLERANCE
    assert out["image_probability"] == pytest.approx(probabilities(logits.mean()).item(), abs=TOLERANCE)
    np.testing.assert_allclose(out["ood_score"], distances.numpy(), atol=TOLERANCE)
    np.testing.assert_allclose(out["no_photo_score"], scores.numpy(), atol=1e-3)


def image(level: int, spread: int = 20, size: tuple[int, int] = (500, 300)) -> Image.Image:
    noise = np.random.default_rng(0).integers(-spread, spread + 1, (size[1], size[0], 3))
    return Image.fromarray((level + noise).clip(0, 255).astype(np.uint8))


def assert_same_decision(session, model: Detector, shown: Image.Image, embedded=lambda crops: crops) -> str | None:
    """Assert that the rule of the metadata, applied to the outputs, decides as `predict_native`; return the label.

    `embedded` turns crops into the input of the file.
    """
    limits = json.loads(session.get_modelmeta().custom_metadata_map["thresholds"])
    out = outputs(session, embedded(scored_crops(shown)[0]))
    p, is_fake = float(out["image_probability"]), out["probability"] >= 0.5
    label = "FAKE" if p >= limits["high"] else "REAL" if p <= limits["low"] else None
    agreement = is_fake.mean() if label == "FAKE" else (~is_fake).mean()
    no_photo = outputs(session, embedded(to_array(overview(shown))[None]))["no_photo_score"][0] > 0
    if agreement < limits["agreement"] or out["ood_score"].mean() > limits["ood_threshold"] or no_photo:
        label = None
    expected = predict_native(model, shown)
    assert p == pytest.approx(expected.probability, abs=TOLERANCE) and label == expected.label
    return label


def test_the_metadata_suffice_for_each_decision(tmp_path, monkeypatch):
    """Features are brightness, a constant and roughness. Bright crops are FAKE, and rough ones no photo."""

    def embedded(crops: np.ndarray) -> np.ndarray:
        features = np.zeros((len(crops), FEATURES), np.float32)
        features[:, 0] = crops.mean((1, 2, 3)) / 127.5 - 1
        features[:, 1] = 1
        features[:, 2] = np.abs(np.diff(crops.astype(np.float32))).mean((1, 2, 3)) / 127.5
        return features

    monkeypatch.setattr("detector.models.native.embed", lambda crops: torch.from_numpy(embedded(crops.numpy())))
    model = Native().eval()
    for tensor in (model.head.weight, model.head.bias):
        tensor.data.zero_()
    model.head.weight.data[0, 0] = 10
    model.limits.copy_(torch.tensor([0.1, 0.9]))
    model.photo_head[2], model.photo_head[-1] = 1, -0.2
    model.feature_bank[:, 1] = 1
    model.ood_threshold.fill_(0.2)
    session = onnxruntime.InferenceSession(write_onnx(model, tmp_path / "head.onnx", {}))
    mixed = Image.new("RGB", (1000, 1000))
    mixed.paste(image(234, size=(1000, 500)), (0, 0))
    mixed.paste(image(100, size=(1000, 500)), (0, 500))
    cases = {"REAL": image(50), "FAKE": image(200), "between": image(127)}
    cases |= {"crops disagree": mixed, "out of distribution": image(255), "no photo": image(200, 250)}
    labels = {name: assert_same_decision(session, model, shown, embedded) for name, shown in cases.items()}
    assert labels == {name: name if name in ("REAL", "FAKE") else None for name in cases}


def test_native_small_takes_the_crops_of_an_image(exported):
    session = onnxruntime.InferenceSession(exported("native-small"))
    assert_same_decision(session, load_model(files.model_file("native-small")), image(127))


@pytest.mark.skipif(not files.ENCODER.exists(), reason="CLIP's encoder is not installed")
def test_the_head_of_native_runs_behind_the_encoders_own_file(exported):
    model, session = load_model(files.model_file("native")), onnxruntime.InferenceSession(exported("native"))
    encoder = onnxruntime.InferenceSession(encoder_bytes(files.ENCODER))
    assert_same_decision(session, model, image(127), lambda crops: np.stack([encode(encoder, crop) for crop in crops]))


@pytest.mark.parametrize("name", ["native", "native-small"])
def test_the_metadata_describe_the_file(name, exported):
    session, model = onnxruntime.InferenceSession(exported(name)), load_model(files.model_file(name))
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["model"] == name
    assert metadata["weights_sha256"] == hashlib.sha256(files.model_file(name).read_bytes()).hexdigest()
    described = json.loads(metadata["outputs"])
    assert list(described) == [output.name for output in session.get_outputs()]
    (source,) = session.get_inputs()
    assert source.shape[0] == "N" and f"({', '.join(map(str, source.shape))})" in metadata["input"]
    assert metadata["input"].split()[0] in ("uint8", "float32") and metadata["input"][:5] in source.type + "float32"
    thresholds = json.loads(metadata["thresholds"])
    assert [thresholds["low"], thresholds["high"]] == model.limits.tolist()
    assert all(re.search(rf"\b{key}\b", metadata["rule"]) for key in thresholds)


def test_the_graph_has_the_sigmoid_of_predict(small_cnn, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "probabilities", lambda logits: logits)
    path = write_onnx(small_cnn, tmp_path / "cnn.onnx", {})
    assert b"Sigmoid" not in path.read_bytes()
    pixels = np.full((3, 3, 32, 32), 90, np.uint8)
    logits = outputs(onnxruntime.InferenceSession(path), pixels)["probability"]
    assert probabilities(logits).numpy() == pytest.approx(
        predict(small_cnn, torch.from_numpy(pixels)).numpy(), abs=1e-5
    )


def test_an_unknown_model_is_one_sentence():
    with pytest.raises(UserError, match=r"no released model nobody\. Choose one of cnn, transfer, native"):
        export.export("nobody")


def test_a_missing_exporter_names_the_command(small_cnn, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-scale\.txt"):
        write_onnx(small_cnn, tmp_path / "cnn.onnx", {})
    assert not list(tmp_path.iterdir())
