"""The networks: the contract of their inputs and outputs, what of them can learn, the file format."""

import json
from functools import partial

import pytest
import torch
from safetensors import safe_open
from sklearn.neighbors import NearestNeighbors

from detector.anatomy import layer_table
from detector.models import BANK, CNN, NEIGHBOURS, Transfer, TwoTargets, join_models, limit_contrast
from detector.prediction import predict
from detector.preprocessing import to_unit
from detector.progress import InputError
from detector.weights import load_model, save_model


@pytest.fixture(scope="module")
def transfer() -> Transfer:
    return Transfer(pretrained=True).eval()


def test_transfer_feeds_its_backbone_as_published(transfer):
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(transfer.features(pixels), transfer.backbone((pixels * 255 - 127) / 128), atol=1e-5)


def test_frozen_batch_norm_stays_frozen(transfer):
    norms = [m for m in transfer.train().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    transfer(torch.rand(4, 3, 32, 32))
    transfer.eval()
    assert norms
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))


@pytest.mark.parametrize("frozen", [0, 6])
def test_learnt_statistics_follow_the_pictures_except_in_frozen_blocks(frozen):
    model = Transfer(learn_statistics=True)
    for block in model.blocks()[:frozen]:
        for part in block:
            part.requires_grad_(False)
    model.train()(torch.rand(2, 3, 32, 32))
    moved = [
        bool((norm.running_mean != 0).any())  # where it began
        for block in model.blocks()
        for part in block
        for norm in part.modules()
        if isinstance(norm, torch.nn.BatchNorm2d)
    ]
    learns = [place >= frozen for place, block in enumerate(model.blocks()) for _ in range(count_norms(block))]
    assert moved == learns


def count_norms(block: list[torch.nn.Module]) -> int:
    return sum(isinstance(module, torch.nn.BatchNorm2d) for part in block for module in part.modules())


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "efficientnet_lite2", "resnet18"])
def test_without_the_stride_pictures_of_32_pixels_are_seen_as_finely_as_of_64(backbone):
    small, large = (layer_table(Transfer(backbone=backbone, size=size)) for size in (32, 64))
    assert small["output"].tolist() == large["output"].tolist()
    assert small["MACs"].tolist() == large["MACs"].tolist()


@pytest.mark.parametrize(("make", "count"), [(CNN, 4), (Transfer, 9), (lambda: Transfer(backbone="resnet18"), 9)])
def test_blocks_are_all_but_the_head_from_the_input_on(make, count):
    model = make()
    blocks = model.blocks()
    learnt = [id(p) for block in blocks for part in block for p in part.parameters()]
    assert len(blocks) == count
    assert learnt + [id(p) for p in model.head.parameters()] == [
        *(id(p) for name, p in model.named_parameters() if not name.startswith("head.")),
        *(id(p) for name, p in model.named_parameters() if name.startswith("head.")),
    ]


@pytest.mark.parametrize("make", [CNN, Transfer, lambda: Transfer(backbone="resnet18")])
def test_models_give_one_logit_a_picture(make):
    model = make().eval()
    with torch.no_grad():
        assert model(torch.rand(3, 3, 32, 32)).shape == (3,)


def test_normalisation_lives_inside(small_cnn):
    """The very pixels that training sees, unscaled by anything outside, are what predict gives to the model."""
    pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = torch.sigmoid(small_cnn(pixels.float() / 255))
    assert torch.allclose(predict(small_cnn, pixels), expected, atol=1e-6)


def test_contrast_is_brought_within_limits_and_the_mean_stays():
    checks = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(1, 3, 16, 16) - 0.5  # deviate by 0.5 from their mean
    pictures = torch.cat([0.5 + 0.2 * checks, 0.5 + 0.4 * checks, 0.4 + 0.8 * checks, 0.3 + 0 * checks])
    limited = limit_contrast(pictures, 0.16, 0.26)
    deviation, mean = limited.numpy().std((1, 2, 3)), limited.mean((1, 2, 3))
    assert deviation == pytest.approx([0.16, 0.2, 0.26, 0], abs=1e-4)  # torch's own is of a sample
    assert torch.equal(limited[1], pictures[1])
    assert mean.tolist() == pytest.approx([0.5, 0.5, 0.4, 0.3])


def test_a_limited_network_judges_every_lower_contrast_alike():
    pixels = 0.4 + 0.2 * torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))  # deviate by 0.06
    model = CNN(widths=(16, 16), stem=16, contrast=(0.16, 0.26)).eval()
    mean = pixels.mean((1, 2, 3), keepdim=True)
    with torch.no_grad():
        assert torch.allclose(model(pixels), model(mean + (pixels - mean) / 2), atol=1e-4)


def test_saved_model_loads_from_the_file_alone(small_cnn, tmp_path):
    path = tmp_path / "small.safetensors"
    small_cnn.temperature.fill_(2.0)
    small_cnn.half().float()  # as stored, in fp16
    save_model(small_cnn, path, recipe={"epochs": 3}, data="test")
    loaded = load_model(path)
    pixels = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    assert not loaded.training
    assert loaded.temperature == 2.0
    assert torch.allclose(predict(loaded, pixels), predict(small_cnn, pixels), atol=1e-6)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    assert facts["architecture"] == "CNN"
    assert json.loads(facts["recipe"]) == {"epochs": 3}
    assert "torch" in facts["versions"]


def test_temperature_divides_the_logits(small_cnn):
    pixels = to_unit(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8))
    with torch.no_grad():
        before = small_cnn(pixels)
        small_cnn.temperature.fill_(4.0)
        assert torch.allclose(small_cnn(pixels), before / 4)


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"no model", lambda data: b""])
def test_damaged_model_is_told(small_cnn, tmp_path, damage):
    path = tmp_path / "small.safetensors"
    save_model(small_cnn, path, recipe={}, data="test")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="not a whole model"):
        load_model(path)


def test_absent_model_is_told(tmp_path):
    with pytest.raises(InputError, match="there is no model"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("make", [partial(CNN, widths=(16, 16), stem=16), Transfer])
def test_the_mirror_image_is_judged_too(make):
    torch.manual_seed(0)
    plain, both = make().eval(), make(mirror=True).eval()
    both.load_state_dict(plain.state_dict())
    pixels = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(both(pixels), (plain(pixels) + plain(pixels.flip(3))) / 2)
    torch.testing.assert_close(both(pixels), both(pixels.flip(3)))
    torch.testing.assert_close(both.train()(pixels), plain.train()(pixels))  # training is not slowed down
    assert layer_table(both)["MACs"].sum() == 2 * layer_table(plain)["MACs"].sum()
    assert layer_table(both)["parameters"].equals(layer_table(plain)["parameters"])


def test_two_targets_share_the_features():
    torch.manual_seed(0)
    model = TwoTargets(CNN(widths=(16, 16), stem=16), subjects=3)
    pixels = torch.rand(4, 3, 32, 32)
    logits, kinds = model.eval()(pixels)
    torch.testing.assert_close(logits, model.detector(pixels))
    assert kinds.shape == (4, 6)
    (kinds * torch.arange(6)).sum().backward()
    assert model.kinds.weight.grad.abs().sum() > 0


def test_distance_is_scikit_learns(small_cnn, standin):
    pixels = to_unit(standin.train.pixels[:600])
    with torch.no_grad():
        features = small_cnn.features(pixels)
        small_cnn.bank.copy_(torch.nn.functional.normalize(features[:BANK], dim=1))
        ours = small_cnn.distance(pixels[BANK:])
    theirs = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(features[:BANK].numpy())
    distances, _ = theirs.kneighbors(features[BANK:].numpy())
    assert ours.numpy() == pytest.approx(distances[:, -1], abs=1e-5)


def test_an_ensemble_says_the_mean_of_its_members_before_and_after_its_file(tmp_path, transfer):
    torch.manual_seed(0)
    members = [CNN(widths=(16, 16), stem=16, mirror=True).eval(), CNN(widths=(16, 32), stem=16).eval(), transfer]
    for factor, member in enumerate(members, 1):
        member.temperature.fill_(factor)
        torch.nn.init.normal_(member.head.weight)
        torch.nn.init.constant_(member.head.bias, factor)
    pixels = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ensemble = join_models(members)
    with torch.no_grad():
        both = [[m.read(m.features(x)) for m in members] for x in (pixels, pixels.flip(3))]
        expected = sum(sum(logits) / len(members) for logits in both) / 2
        assert torch.allclose(ensemble(pixels), expected, atol=1e-4)
        save_model(ensemble, tmp_path / "ensemble.safetensors", recipe={}, data="")
        loaded = load_model(tmp_path / "ensemble.safetensors")
        assert torch.allclose(loaded(pixels), ensemble(pixels), atol=0.02)
        assert (expected - members[0](pixels)).abs().min() > 0.1


def test_what_cannot_be_written_is_told_and_leaves_nothing(small_cnn, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="could not be written"):
        save_model(small_cnn, tmp_path / "file" / "model.safetensors", recipe={}, data="")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
