"""The loop: deterministic, resumable, and 'best' is the best."""

import pandas as pd
import pytest
import torch

from detector import training
from detector.models import CNN
from detector.prediction import predict
from detector.progress import InputError
from detector.training import Recipe, train

RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.003)


def fresh() -> CNN:
    torch.manual_seed(0)
    return CNN(widths=(16, 16), stem=16)


def parts(data):
    return data.train[:320], data.validation[:100]


def same_weights(one: CNN, other: CNN) -> bool:
    return all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in one.state_dict().items())


def figures(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="images_per_second")


def test_same_seed_same_result(standin):
    first, first_history = train(fresh(), *parts(standin), RECIPE)
    second, second_history = train(fresh(), *parts(standin), RECIPE)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    pd.testing.assert_frame_equal(figures(first_history), figures(second_history))


@pytest.mark.parametrize("stop", [0, 2])
def test_interrupted_run_ends_where_it_would_have_ended(standin, monkeypatch, stop):
    whole, whole_history = train(fresh(), *parts(standin), RECIPE)
    run_epoch = training._epoch

    def interrupt(run, *arguments):
        loss = run_epoch(run, *arguments)
        if len(run.history) == stop:  # in the midst of an epoch: its steps are lost
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(training, "_epoch", interrupt)
    network = fresh()
    with pytest.raises(KeyboardInterrupt):
        train(network, *parts(standin), RECIPE)
    epochs = []
    monkeypatch.setattr(
        training, "_epoch", lambda run, *rest: (epochs.append(len(run.history)), run_epoch(run, *rest))[1]
    )
    resumed, resumed_history = train(network, *parts(standin), RECIPE)
    assert epochs == list(range(stop, 3))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )
    pd.testing.assert_frame_equal(figures(whole_history), figures(resumed_history))


def test_torn_checkpoint_is_told(standin, monkeypatch):
    def interrupt(run, *arguments):
        raise KeyboardInterrupt

    save = training.save_checkpoint
    monkeypatch.setattr(training, "save_checkpoint", lambda run, path: (save(run, path), interrupt(run)))
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), *parts(standin), RECIPE)
    (checkpoint,) = training.CHECKPOINTS.iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(InputError, match="delete it"):
        train(fresh(), *parts(standin), RECIPE)


def test_another_recipe_does_not_go_on_from_this_ones_checkpoint(standin):
    train_set, validation = parts(standin)
    names = {training._digest(fresh(), train_set, validation, Recipe(epochs=3, seed=seed)) for seed in range(3)}
    names.add(training._digest(fresh(), train_set[:-1], validation, Recipe(epochs=3)))
    names.add(training._digest(fresh(), train_set, validation[:-1], Recipe(epochs=3)))
    names.add(training._digest(CNN(widths=(16, 16), stem=16), train_set, validation, Recipe(epochs=3)))
    assert len(names) == 6


def test_best_is_kept_as_a_copy(standin, monkeypatch):
    """Validation gets worse after the first epoch: what comes back is the first epoch's weights, not the last's."""
    kept, scores = [], iter([0.9, 0.5, 0.4])

    def score(model, validation):
        kept.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
        return {"validation_loss": 0.0, "validation_accuracy": next(scores)}

    monkeypatch.setattr(training, "_score", score)
    best, _ = train(fresh(), *parts(standin), RECIPE)
    assert all(torch.equal(tensor, kept[0][key]) for key, tensor in best.state_dict().items())
    assert not all(torch.equal(tensor, kept[-1][key]) for key, tensor in best.state_dict().items())


def test_augmentation_runs_in_training_and_only_there(standin, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "augment", lambda pixels, rng, **kw: (seen.append(len(pixels)), pixels / 255)[1])
    train(fresh(), *parts(standin), RECIPE)
    assert sum(seen) == RECIPE.epochs * 320


def test_history_reports_the_returned_model(standin):
    model, history = train(fresh(), *parts(standin), RECIPE)
    _, validation = parts(standin)
    right = ((predict(model, validation.pixels) >= 0.5) == validation.labels).double().mean()
    assert float(right) == pytest.approx(history["validation_accuracy"].max())


def test_training_learns_the_standin(standin):
    """Better than the toss of a coin by far: the loop, the labels and the loss fit together."""
    test = standin.test[:500]
    model, _ = train(fresh(), standin.train[:1600], standin.validation[:200], Recipe(epochs=2, batch_size=32))
    right = ((predict(model, test.pixels) >= 0.5) == test.labels).double().mean()
    assert right > 0.9
