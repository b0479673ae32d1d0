"""The speed study: counts that can be checked by hand, and baselines of the size that their sources report."""

import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks import speed
from benchmarks.baselines import CompactCNN, UsualCNN
from benchmarks.machine import convolution_seconds, median_seconds
from detector.models.cnn import CNN
from detector.models.summary import layer_table


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_baselines_have_the_reported_sizes():
    usual, compact = UsualCNN(), CompactCNN()
    assert parameters(usual) == pytest.approx(25.8e6, rel=0.01)
    assert parameters(compact) == pytest.approx(288e3, rel=0.01)
    assert layer_table(compact)["MACs"].sum() == pytest.approx(38.6e6, rel=0.01)
    assert compact(torch.rand(2, 3, 32, 32)).shape == (2,)


def test_training_costs_three_forward_passes():
    layer = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    assert speed.training_macs(layer, 10, side=16) == 3 * 10 * 16 * 16 * 8 * 27


def test_the_median_ignores_the_first_call():
    calls = []
    median_seconds(lambda: calls.append(1), 3)
    assert len(calls) == 4


@pytest.mark.parametrize("backward", [False, True])
def test_each_convolution_is_timed_at_its_own_shape(backward, monkeypatch):
    shapes = []
    monkeypatch.setattr("benchmarks.machine._one_convolution", lambda *args: shapes.append(args[1]) or 1.0)
    model = CNN(widths=(16, 16), stem=8)
    seconds = convolution_seconds(model, 2, torch.float32, 1, backward=backward)
    assert seconds == len(shapes) == sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert shapes[0] == (2, 3, 32, 32)
    assert shapes[-1][2] < 32


def test_the_usual_recipe_reads_a_folder_of_files(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "USUAL_BATCH", 2)
    for row, (name, pixels) in enumerate(zip(["REAL", "FAKE"] * 3, toy.train.pixels[:6], strict=True)):
        (tmp_path / name).mkdir(exist_ok=True)
        to_pil_image(pixels).save(tmp_path / name / f"{row}.jpg")
    assert speed.usual_seconds(tmp_path, workers=0, batches=1) > 0


def test_data_rows_count_every_file(tiny_cifake, toy):
    table = speed.data_rows(toy, tiny_cifake).set_index("metric")
    assert table.loc["decoding and checking rate", "n"] == 10_000  # of the toy dataset's four sets
    assert (table["value"] > 0).all()
    assert table["unit"].tolist() == ["files/s", "s"]


def test_ratios_compare_with_our_training(toy):
    macs = speed.training_macs(CNN(), len(toy.train))
    table = speed._baseline_rows("baseline", "a note", 30.0, 10.0, 2 * macs, toy).set_index("metric")["value"]
    assert table["time relative to cnn"] == 3
    assert table["MACs relative to cnn"] == pytest.approx(2)
