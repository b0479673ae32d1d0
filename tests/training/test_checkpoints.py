"""Checkpoints restore a training's state, and damaged ones are an error."""

import pytest
import torch

from detector.core.console import UserError
from detector.models.base import WithAuxiliaryHead
from detector.models.cnn import CNN
from detector.training.checkpoints import TrainingState, delete_checkpoint, load_checkpoint, save_checkpoint
from detector.training.loop import _start, _step
from detector.training.recipes import Recipe


def make_state(steps: int = 0) -> TrainingState:
    """Return the state after some steps on random images."""
    torch.manual_seed(0)
    recipe = Recipe(epochs=3, batch_size=8)
    state = _start(WithAuxiliaryHead(CNN(widths=(16,), stem=16), object_classes=2), recipe, steps=4)
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        pixels = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=rng)
        labels = torch.arange(8) % 2
        _step(state, [pixels, labels, labels], recipe, rng)
    state.history = [{"loss": 0.5}] * steps
    state.best = {key: tensor.clone() for key, tensor in state.averaged.module.state_dict().items()}
    return state


def assert_equal(saved: object, loaded: object) -> None:
    """Compare nested dictionaries and lists, with tensors bit for bit."""
    if isinstance(saved, torch.Tensor):
        assert torch.equal(saved, loaded)
    elif isinstance(saved, dict):
        assert saved.keys() == loaded.keys()
        for key, value in saved.items():
            assert_equal(value, loaded[key])
    elif isinstance(saved, list | tuple):
        for one, other in zip(saved, loaded, strict=True):
            assert_equal(one, other)
    else:
        assert saved == loaded


def test_a_checkpoint_restores_the_whole_state(tmp_path):
    saved, loaded = make_state(steps=3), make_state()
    save_checkpoint(saved, tmp_path / "checkpoint.safetensors")
    load_checkpoint(loaded, tmp_path / "checkpoint.safetensors")
    for name in ("model", "averaged"):
        assert_equal(getattr(saved, name).state_dict(), getattr(loaded, name).state_dict())
    for name in ("optimizers", "schedules"):
        for one, other in zip(getattr(saved, name), getattr(loaded, name), strict=True):
            assert_equal(one.state_dict(), other.state_dict())
    assert_equal(saved.best, loaded.best)
    assert saved.history == loaded.history


def flipped(data: bytes) -> bytes:
    """Change a value that a reader of the format cannot notice."""
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGES = [lambda data: data[:-10], lambda data: b"", flipped]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_an_error(tmp_path, damage):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(make_state(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="Delete it to train from the start"):
        load_checkpoint(make_state(), path)


@pytest.mark.parametrize("damage", [*DAMAGES, None])
def test_the_checkpoint_before_a_damaged_or_missing_one_is_used(tmp_path, capsys, damage):
    path, first = tmp_path / "checkpoint.safetensors", make_state(steps=1)
    save_checkpoint(first, path)
    save_checkpoint(make_state(steps=2), path)
    if damage:
        path.write_bytes(damage(path.read_bytes()))
    else:
        path.unlink()  # killed between the renaming of the old one and the writing of the new one
    loaded = make_state()
    load_checkpoint(loaded, path)
    assert_equal(first.model.state_dict(), loaded.model.state_dict())
    assert loaded.history == first.history
    assert ("is damaged" in capsys.readouterr().err) == bool(damage)
    delete_checkpoint(path)
    assert not list(tmp_path.iterdir())
