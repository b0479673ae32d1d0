"""Muon on convolution kernels, who is trained by what, and the average of the weights."""

import pytest
import torch
from torch import nn

from detector.models import CNN, TwoTargets
from detector.optimization import NEWTON_SCHULZ, Muon, ema, make_optimizers, orthogonalise


def kernel(outputs: int, inputs: int, side: int) -> nn.Parameter:
    torch.manual_seed(0)
    return nn.Parameter(torch.randn(outputs, inputs, side, side).contiguous(memory_format=torch.channels_last))


def test_the_kernel_itself_moves():
    one = kernel(16, 16, 3)
    before = one.detach().clone()
    muon = Muon([one], lr=0.01, weight_decay=0.0)
    one.grad = torch.randn_like(one)
    muon.step()
    assert not torch.equal(one, before)


@pytest.mark.parametrize("shape", [(16, 8, 3), (16, 16, 1), (8, 64, 2)])
def test_a_step_is_nearly_orthogonal(shape):
    """All singular values of the update lie near one another, whatever those of the gradient (Jordan et al. 2024)."""
    one = kernel(*shape)
    before = one.detach().clone()
    muon = Muon([one], lr=0.01, weight_decay=0.0, momentum=0.0)
    one.grad = torch.randn_like(one) * torch.logspace(0, 2, shape[0]).view(-1, 1, 1, 1)  # badly scaled rows
    muon.step()
    update = torch.linalg.svdvals((one.detach() - before).flatten(1))
    gradient = torch.linalg.svdvals(one.grad.flatten(1))
    assert gradient.max() / gradient.min() > 10
    assert update.max() / update.min() < 3
    assert update.mean() == pytest.approx(0.01 * 0.2 * max(shape[0], one[0].numel()) ** 0.5, rel=0.25)


def test_orthogonalising_what_is_of_low_rank_or_zero_stays_finite():
    torch.manual_seed(0)
    for matrix in (torch.randn(32, 2) @ torch.randn(2, 288), torch.zeros(32, 288)):
        assert torch.linalg.svdvals(orthogonalise(matrix)).max() < 1.3


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalising_is_newton_and_schulz_in_float64(shape):
    """As Jordan et al. 2024 write it: x becomes a x + b (x x') x + c (x x')^2 x, five times."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x, (a, b, c) = matrix.double() / matrix.double().norm(), NEWTON_SCHULZ
    for _ in range(5):
        square = x @ x.T
        x = a * x + b * square @ x + c * square @ square @ x
    assert torch.allclose(orthogonalise(matrix).double(), x, atol=1e-3)  # the smallest singular values are rounded


def test_steps_are_those_of_torchs_own_which_rounds_more():
    one, rng = kernel(16, 8, 3), torch.Generator().manual_seed(1)
    matrix = nn.Parameter(one.detach().permute(0, 2, 3, 1).flatten(1).clone())
    ours = Muon([one], lr=0.01, weight_decay=0.1, momentum=0.9)
    theirs = torch.optim.Muon([matrix], lr=0.01, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        one.grad = torch.randn(one.shape, generator=rng).contiguous(memory_format=torch.channels_last)
        matrix.grad = one.grad.permute(0, 2, 3, 1).flatten(1)
        before = one.detach().clone()
        ours.step()
        theirs.step()
    moved = (one.detach() - before).norm()
    assert (one.detach().permute(0, 2, 3, 1).flatten(1) - matrix).norm() < 0.1 * moved


def test_every_parameter_has_one_optimizer_and_the_stem_is_not_muons():
    model = TwoTargets(CNN(widths=(16, 16), stem=16), subjects=3).to(memory_format=torch.channels_last)
    adamw, muon = make_optimizers(model, "muon", 0.01, 0.1)
    by_adamw = {p.data_ptr() for group in adamw.param_groups for p in group["params"]}
    by_muon = {p.data_ptr() for group in muon.param_groups for p in group["params"]}
    assert by_adamw | by_muon == {p.data_ptr() for p in model.parameters()}
    assert not by_adamw & by_muon
    assert by_muon == {p.data_ptr() for p in model.detector.stages.parameters() if p.ndim == 4}


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_each_block_learns_at_a_share_of_the_next_ones_rate(kind):
    model = TwoTargets(CNN(widths=(16, 16), stem=16), subjects=3).to(memory_format=torch.channels_last)
    optimizers = make_optimizers(model, kind, 0.01, 0.1, block_rate=0.5)
    rates = {p.data_ptr(): group["lr"] for one in optimizers for group in one.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    for place, block in enumerate(model.detector.blocks()):  # three, and then the heads
        assert {rates[p.data_ptr()] for part in block for p in part.parameters()} == {0.01 * 0.5 ** (3 - place)}
    assert {rates[p.data_ptr()] for head in (model.detector.head, model.kinds) for p in head.parameters()} == {0.01}


def test_what_is_frozen_has_no_optimizer():
    model = TwoTargets(CNN(widths=(16, 16), stem=16), subjects=3)
    model.detector.stem.requires_grad_(False)
    learnt = {
        p.data_ptr()
        for one in make_optimizers(model, "adamw", 0.01, 0.1)
        for g in one.param_groups
        for p in g["params"]
    }
    assert learnt == {p.data_ptr() for p in model.parameters()} - {
        p.data_ptr() for p in model.detector.stem.parameters()
    }


def test_vectors_are_not_decayed():
    matrices, vectors = make_optimizers(TwoTargets(CNN(widths=(16,), stem=16), 3), "adamw", 0.01, 0.1)[0].param_groups
    assert matrices["weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0.0
    assert {p.ndim for p in vectors["params"]} == {1}


def test_the_average_warms_up_and_counts_are_copied():
    means, values = [torch.zeros(2)], [torch.ones(2)]
    ema(0.99)(means, values, torch.tensor(0))
    assert torch.allclose(means[0], torch.full((2,), 0.9))  # 1 - 1/10
    ema(0.99)(means, values, torch.tensor(100_000))
    assert torch.allclose(means[0], torch.full((2,), 0.901))
    counts = [torch.tensor([1])]
    ema(0.99)(counts, [torch.tensor([7])], torch.tensor(5))
    assert counts[0].item() == 7
