"""Predictions do not depend on batches, leave the model unchanged, and apply one sigmoid."""

import numpy as np
import pytest
import torch

from detector.inference.predict import predict, predict_features, predict_logits, predict_ood_scores, probabilities
from detector.metrics.classification import confusion


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (70, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_predict_does_not_depend_on_the_batch_size(small_cnn, pixels, batch_size):
    with torch.no_grad():
        one_by_one = torch.cat([torch.sigmoid(small_cnn(image[None].float() / 255)) for image in pixels])
    predicted = predict(small_cnn, pixels, batch_size=batch_size)
    assert predicted.dtype == torch.float32
    assert predicted.device.type == "cpu"
    assert one_by_one.std() > 0.01
    assert torch.allclose(predicted, one_by_one, atol=1e-5)


def test_predict_without_images_is_empty(small_cnn):
    assert predict(small_cnn, torch.empty(0, 3, 32, 32, dtype=torch.uint8)).shape == (0,)


def test_predict_leaves_the_model_unchanged(small_cnn, pixels):
    small_cnn.train()
    before = {key: tensor.clone() for key, tensor in small_cnn.state_dict().items()}
    predict(small_cnn, pixels[:8])
    assert small_cnn.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in small_cnn.state_dict().items())


class Constant(torch.nn.Module):
    """Returns the same logit for every image."""

    def __init__(self, logit: float):
        super().__init__()
        self.logit = torch.nn.Parameter(torch.tensor(logit))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.logit.expand(len(pixels))


def test_one_sigmoid_and_fake_is_positive():
    """A second sigmoid would lift a logit of -3 above 1/2 and classify everything as FAKE."""
    blank, labels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])
    assert predict(Constant(-3.0), blank).allclose(torch.tensor(1 / (1 + np.exp(3.0)), dtype=torch.float32))
    assert confusion(predict(Constant(3.0), blank), labels).to_numpy().tolist() == [[0, 2], [0, 2]]
    assert confusion(predict(Constant(-3.0), blank), labels).loc["REAL", "REAL"] == 2


def test_probabilities_keep_shape_and_precision():
    assert probabilities(np.zeros((2, 3))).dtype == torch.float64
    assert torch.equal(probabilities(torch.zeros(2, 3)), torch.full((2, 3), 0.5))


def test_the_head_reads_the_features(small_cnn, pixels):
    features = predict_features(small_cnn, pixels, normalise=False)
    with torch.no_grad():
        logits = small_cnn.classify(features)
    assert torch.allclose(logits, predict_logits(small_cnn, pixels), atol=1e-4)
    lengths = features.norm(dim=1, keepdim=True)
    assert torch.allclose(predict_features(small_cnn, pixels), features / lengths, atol=1e-6)


def test_ood_scores_are_the_models(small_cnn, pixels):
    small_cnn.feature_bank.normal_(generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = small_cnn.ood_score(pixels.float() / 255)
    assert expected.std() > 0
    assert torch.allclose(predict_ood_scores(small_cnn, pixels), expected, atol=1e-5)
