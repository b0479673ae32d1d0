"""Muon on convolution kernels, the assignment of parameters to optimizers, and the moving average of weights."""

import pytest
import torch
from torch import nn

from detector.models.base import WithAuxiliaryHead
from detector.models.cnn import CNN
from detector.training.optimizers import NEWTON_SCHULZ, Muon, ema_average, make_optimizers, orthogonalise


def make_kernel(outputs: int, inputs: int, side: int) -> nn.Parameter:
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(outputs, inputs, side, side).contiguous(memory_format=torch.channels_last))


def make_model() -> WithAuxiliaryHead:
    return WithAuxiliaryHead(CNN(widths=(16, 16), stem=16), object_classes=3).to(memory_format=torch.channels_last)


def test_a_step_updates_the_kernel_in_place():
    kernel = make_kernel(16, 16, 3)
    before = kernel.detach().clone()
    muon = Muon([kernel], lr=0.01, weight_decay=0.0)
    kernel.grad = torch.randn_like(kernel)
    muon.step()
    assert not torch.equal(kernel, before)


@pytest.mark.parametrize("shape", [(16, 8, 3), (16, 16, 1), (8, 64, 2)])
def test_an_update_is_nearly_orthogonal(shape):
    """The update's singular values are nearly equal, however different the gradient's are."""
    kernel = make_kernel(*shape)
    before = kernel.detach().clone()
    muon = Muon([kernel], lr=0.01, weight_decay=0.0, momentum=0.0)
    kernel.grad = torch.randn_like(kernel) * torch.logspace(0, 2, shape[0]).view(-1, 1, 1, 1)  # badly scaled rows
    muon.step()
    update = torch.linalg.svdvals((kernel.detach() - before).flatten(1))
    gradient = torch.linalg.svdvals(kernel.grad.flatten(1))
    assert gradient.max() / gradient.min() > 10
    assert update.max() / update.min() < 3
    assert update.mean() == pytest.approx(0.01 * 0.2 * max(shape[0], kernel[0].numel()) ** 0.5, rel=0.25)


def test_orthogonalising_matrices_of_low_rank_stays_finite():
    torch.manual_seed(0)
    for matrix in (torch.randn(32, 2) @ torch.randn(2, 288), torch.zeros(32, 288)):
        assert torch.linalg.svdvals(orthogonalise(matrix)).max() < 1.3


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalising_equals_the_published_iteration_in_float64(shape):
    """Jordan et al. 2024: five times x <- a x + b (x x') x + c (x x')^2 x."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x, (a, b, c) = matrix.double() / matrix.double().norm(), NEWTON_SCHULZ
    for _ in range(5):
        square = x @ x.T
        x = a * x + b * square @ x + c * square @ square @ x
    assert torch.allclose(orthogonalise(matrix).double(), x, atol=1e-3)  # float32 rounds small singular values


def test_steps_equal_torchs_muon_up_to_its_bfloat16_rounding():
    kernel, rng = make_kernel(16, 8, 3), torch.Generator().manual_seed(1)
    matrix = nn.Parameter(kernel.detach().permute(0, 2, 3, 1).flatten(1).clone())
    ours = Muon([kernel], lr=0.01, weight_decay=0.1, momentum=0.9)
    reference = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        kernel.grad = torch.randn(kernel.shape, generator=rng).contiguous(memory_format=torch.channels_last)
        matrix.grad = kernel.grad.permute(0, 2, 3, 1).flatten(1)
        before = kernel.detach().clone()
        ours.step()
        reference.step()
    moved = (kernel.detach() - before).norm()
    assert (kernel.detach().permute(0, 2, 3, 1).flatten(1) - matrix).norm() < 0.1 * moved


def test_muon_takes_the_kernels_except_the_first_and_adamw_all_other_parameters():
    model = make_model()
    adamw, muon = make_optimizers(model, "muon", 0.01, 0.1)
    by_adamw = {p.data_ptr() for group in adamw.param_groups for p in group["params"]}
    by_muon = {p.data_ptr() for group in muon.param_groups for p in group["params"]}
    assert by_adamw | by_muon == {p.data_ptr() for p in model.parameters()}
    assert not by_adamw & by_muon
    assert by_muon == {p.data_ptr() for p in model.detector.stages.parameters() if p.ndim == 4}


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_layer_decay_scales_each_blocks_learning_rate(optimizer):
    model = make_model()
    optimizers = make_optimizers(model, optimizer, 0.01, 0.1, layer_decay=0.5)
    rates = {p.data_ptr(): group["lr"] for one in optimizers for group in one.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for index, block in enumerate(model.detector.blocks()):  # three blocks, then the heads
        assert {rates[p.data_ptr()] for module in block for p in module.parameters()} == {0.01 * 0.5 ** (3 - index)}
    heads = (model.detector.head, model.auxiliary)
    assert {rates[p.data_ptr()] for head in heads for p in head.parameters()} == {0.01}


def test_frozen_parameters_have_no_optimizer():
    model = make_model()
    model.detector.stem.requires_grad_(False)
    optimizers = make_optimizers(model, "adamw", 0.01, 0.1)
    trained = {p.data_ptr() for one in optimizers for group in one.param_groups for p in group["params"]}
    assert trained == {p.data_ptr() for p in model.parameters() if p.requires_grad}
    assert len(trained) == len(list(model.parameters())) - len(list(model.detector.stem.parameters()))


def test_vectors_have_no_weight_decay():
    matrices, vectors = make_optimizers(make_model(), "adamw", 0.01, 0.1)[0].param_groups
    assert matrices["weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0.0
    assert {p.ndim for p in vectors["params"]} == {1}


def test_the_moving_average_warms_up_and_copies_integers():
    means, values = [torch.zeros(2)], [torch.ones(2)]
    ema_average(0.99)(means, values, torch.tensor(0))
    assert torch.allclose(means[0], torch.full((2,), 0.9))  # 1 - 1/10
    ema_average(0.99)(means, values, torch.tensor(100_000))
    assert torch.allclose(means[0], torch.full((2,), 0.901))
    counts = [torch.tensor([1])]
    ema_average(0.99)(counts, [torch.tensor([7])], torch.tensor(5))
    assert counts[0].item() == 7
