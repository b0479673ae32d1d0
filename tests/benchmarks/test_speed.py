"""The speed study: counts that can be checked by hand, and baselines of the size that their sources report."""

import pandas as pd
import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks import speed
from benchmarks.baselines import CompactCNN, usual_cnn
from benchmarks.study import Study
from detector.core import files
from detector.core.console import UserError
from detector.core.device import device_name
from detector.models.cnn import CNN
from detector.models.summary import layer_table


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_baselines_have_the_reported_sizes():
    usual, compact = usual_cnn(), CompactCNN()
    assert parameters(usual) == pytest.approx(25.8e6, rel=0.01)
    assert parameters(compact) == pytest.approx(288e3, rel=0.01)
    assert layer_table(compact)["MACs"].sum() == pytest.approx(38.6e6, rel=0.01)
    assert compact(torch.rand(2, 3, 32, 32)).shape == usual(torch.rand(2, 3, 224, 224)).shape == (2,)


def test_training_costs_three_forward_passes():
    layer = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    assert speed.training_macs(layer, 10, side=16) == 3 * 10 * 16 * 16 * 8 * 27


@pytest.mark.parametrize("backward", [False, True])
def test_each_convolution_is_timed_at_its_own_shape(backward, monkeypatch):
    shapes = []
    monkeypatch.setattr(speed, "_one_convolution", lambda *args: shapes.append(args[1]) or 1.0)
    model = CNN(widths=(16, 16), stem=8)
    seconds = speed.convolution_seconds(model, 2, torch.float32, 1, backward=backward)
    assert seconds == len(shapes) == sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert shapes[0] == (2, 3, 32, 32)
    assert shapes[-1][2] < 32


def test_the_usual_recipe_reads_a_folder_of_files(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "USUAL_BATCH", 2)
    for row, (name, pixels) in enumerate(zip(["REAL", "FAKE"] * 3, toy.train.pixels[:6], strict=True)):
        (tmp_path / name).mkdir(exist_ok=True)
        to_pil_image(pixels).save(tmp_path / name / f"{row}.jpg")
    assert speed.usual_seconds(tmp_path, workers=0, batches=1) > 0


def test_native_rows_time_an_answer():
    table = speed.native_rows(Study("speed", smoke=True)).set_index("metric")
    assert table["unit"].to_dict() == {"answer": "ms", "share of its network's speed": "%", "check of stability": "ms"}
    assert (table["value"] > 0).all()
    assert table["model"].isin(["native", "native-small"]).all()


def test_data_rows_count_every_file(tiny_cifake, toy):
    table = speed.data_rows(toy, tiny_cifake).set_index("metric")
    assert table.loc["decoding and checking rate", "n"] == 10_000  # of the toy dataset's four sets
    assert (table["value"] > 0).all()
    assert table["unit"].tolist() == ["files/s", "s"]


def test_ratios_compare_with_our_training():
    macs = speed.training_macs(CNN(), 100)
    table = speed.baseline_rows("baseline", "a note", 30.0, 2 * macs, 10.0, 100).set_index("metric")["value"]
    assert table["time relative to cnn"] == 3
    assert table["MACs relative to cnn"] == pytest.approx(2)


@pytest.fixture
def study(monkeypatch, tmp_path, toy) -> Study:
    """Return the study with a row of this device and one of another; the stages are replaced by quick ones."""
    monkeypatch.setattr(files, "STUDIES_DIR", tmp_path)
    monkeypatch.setattr(Study, "load_data", lambda study: toy.sample(256))
    monkeypatch.setattr(speed, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(speed, "find_cifake", lambda: tmp_path)
    monkeypatch.setattr(speed, "usual_seconds", lambda *_: 1.0)
    monkeypatch.setattr(speed, "train", lambda *_, **__: (None, pd.DataFrame({"images_per_second": [2.0]})))
    rows = speed.stage_rows("cnn", "data", ("old", 1.0, "s", 1, ""))
    new = {
        name: speed.stage_rows("cnn", name, ("new", 2.0, "s", 1, ""))
        for name in ("onnx", "data", "native", "inference", "training")
    }
    monkeypatch.setattr(speed, "onnx_rows", lambda *_: new["onnx"])
    monkeypatch.setattr(speed, "data_rows", lambda *_: new["data"])
    monkeypatch.setattr(speed, "native_rows", lambda *_: new["native"])
    monkeypatch.setattr(speed, "inference_rows", lambda *_: new["inference"])
    monkeypatch.setattr(speed, "training_rows", lambda *_: (new["training"], 2.0))
    study = Study("speed")
    study.add(pd.concat([rows, rows.assign(device="another")]))
    return study


def test_a_whole_run_replaces_the_rows_of_this_device(study):
    speed.main([])
    table = study.results()
    assert table.loc[table["metric"] == "old", "device"].tolist() == ["another"]
    assert (table["device"] == device_name()).sum() == 5 + 2 * 3


def test_an_interrupted_run_keeps_the_rows(study, monkeypatch):
    before = study.path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(speed, "usual_seconds", interrupt)
    with pytest.raises(KeyboardInterrupt):
        speed.main([])
    assert study.path.read_bytes() == before


def test_an_accelerator_is_refused(study, monkeypatch):
    monkeypatch.setattr(speed, "pick_device", lambda: torch.device("cuda"))
    with pytest.raises(UserError, match="gpu_speed"):
        speed.main([])
