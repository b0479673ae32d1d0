"""The study of faithfulness: the comparison network has the same layers with other weights."""

import torch

from benchmarks.faithfulness import with_random_weights


def test_random_weights_replace_every_layer_of_a_copy(small_cnn):
    with torch.no_grad():
        for parameter in small_cnn.parameters():
            parameter.mul_(1.5).add_(0.01)
    before = {name: tensor.clone() for name, tensor in small_cnn.state_dict().items()}
    random = with_random_weights(small_cnn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small_cnn.state_dict().items())
    assert not any(torch.equal(tensor, before[name]) for name, tensor in random.named_parameters())
    assert torch.equal(with_random_weights(small_cnn).head.weight, random.head.weight)
