"""The loop: deterministic, resumable, and 'best' is the best."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from detector import training
from detector.models import CNN
from detector.prediction import predict
from detector.progress import InputError
from detector.training import Recipe, train, train_and_keep
from detector.verdicts import judge_all

RECIPE = Recipe(epochs=3, batch_size=32)


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


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_a_handful_of_steps_is_enough(standin, steps):
    _, history = train(fresh(), standin.train[: 32 * steps], standin.validation[:20], replace(RECIPE, epochs=1))
    assert history["loss"].notna().all()


@pytest.mark.parametrize(("rounds", "stop", "changes"), [(1, 0, 0.0), (1, 2, 0.5), (3, 4, 0.5)])
def test_interrupted_run_ends_where_it_would_have_ended(standin, monkeypatch, rounds, stop, changes):
    recipe = replace(RECIPE, rounds=rounds, cut_mix=changes, corrupted=changes)
    whole, whole_history = train(fresh(), *parts(standin), recipe)
    run_round = training._round

    def interrupt(run, *arguments):
        loss = run_round(run, *arguments)
        if len(run.history) == stop:  # in the midst of an epoch: its steps are lost
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(training, "_round", interrupt)
    network = fresh()
    with pytest.raises(KeyboardInterrupt):
        train(network, *parts(standin), recipe)
    epochs = []
    monkeypatch.setattr(
        training, "_round", lambda run, *rest: (epochs.append(len(run.history)), run_round(run, *rest))[1]
    )
    resumed, resumed_history = train(network, *parts(standin), recipe)
    assert epochs == list(range(stop, 3 * rounds))
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
    met, plain = [], CNN.features

    def note(self, pixels):
        met.append((self.training, pixels))
        return plain(self, pixels)

    monkeypatch.setattr(CNN, "features", note)
    train(fresh(), *parts(standin), RECIPE)
    assert sum(seen) == RECIPE.epochs * 320
    scored = torch.cat([x for trains, x in met if not trains])[:100]
    assert torch.equal(scored, parts(standin)[1].pixels / 255)


def test_what_is_kept_gives_the_same_again_at_once_until_it_is_removed(standin, monkeypatch):
    first, history, checkpoint = train_and_keep(fresh(), *parts(standin), RECIPE)
    assert checkpoint.exists()
    with monkeypatch.context() as patch:
        patch.setattr(training, "_step", None)  # no step is made
        again, same_history, _ = train_and_keep(fresh(), *parts(standin), RECIPE)
    assert same_weights(first, again)
    pd.testing.assert_frame_equal(history, same_history)
    train(fresh(), *parts(standin), RECIPE)
    assert not checkpoint.exists()


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


def test_rounds_cut_epochs_without_changing_their_order(standin, monkeypatch):
    """Each epoch meets each picture once, however it is cut into rounds, and the index tells where a round ends."""
    train_set, validation = parts(standin)
    seen = []
    monkeypatch.setattr(training, "augment", lambda pixels, rng, **kw: (seen.append(pixels), pixels / 255)[1])
    _, history = train(fresh(), train_set, validation, replace(RECIPE, epochs=2, rounds=4))
    assert history.index.tolist() == pytest.approx([0.2, 0.5, 0.8, 1, 1.2, 1.5, 1.8, 2])  # of 10 steps an epoch
    first, second = torch.cat(seen).split(320)
    for met in (first, second):
        assert torch.equal(torch.unique(met, dim=0), torch.unique(train_set.pixels, dim=0))
    assert not torch.equal(first, second)


def test_unknown_subjects_teach_nothing_and_do_no_harm(standin):
    """Pictures whose subject is not known train as if there were no second target."""
    train_set, validation = parts(standin)
    unknown = replace(train_set, subjects=torch.full_like(train_set.subjects, -1))
    one, _ = train(fresh(), unknown, validation, RECIPE)
    other, _ = train(fresh(), train_set, validation, replace(RECIPE, subjects=0.0))
    third, _ = train(fresh(), train_set, validation, RECIPE)
    assert same_weights(one, other)
    assert not same_weights(one, third)


def buffers_of(*blocks):
    """Of each part of some blocks the running statistics, block by block."""
    return zip(*[[list(part.buffers()) for part in block] for block in blocks], strict=True)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_frozen_blocks_keep_their_weights_and_the_others_learn(standin, optimizer):
    recipe = replace(RECIPE, epochs=1, frozen_blocks=2, optimizer=optimizer, learning_rate=6e-3)
    trained, _ = train(fresh(), *parts(standin), recipe)
    for place, blocks in enumerate(zip(fresh().blocks(), trained.blocks(), strict=True)):
        before, after = ([p for part in block for p in part.parameters()] for block in blocks)
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True)) == (place < 2)
        kept = [all(torch.equal(*each) for each in zip(*states, strict=True)) for states in buffers_of(*blocks)]
        assert all(kept) == (place < 2)
        assert all(p.requires_grad == (place >= 2) for p in after)
    again, _ = train(trained, *parts(standin), RECIPE)
    assert all(p.requires_grad for p in again.parameters())


def test_rates_of_the_blocks_are_kept_over_the_cycle_and_an_interruption(standin, monkeypatch):
    """The rate of each group goes through the same cycle, scaled, and a run with several goes on from a checkpoint."""
    recipe = replace(RECIPE, epochs=2, block_rate=0.5)
    rates, starts = [], []
    step = training._step

    def note(run, *arguments):
        groups = [group for optimizer in run.optimizers for group in optimizer.param_groups]
        rates.append(sorted({round(group["lr"] / groups[0]["lr"], 6) for group in groups}))
        starts.append(groups[0]["lr"])
        return step(run, *arguments)

    monkeypatch.setattr(training, "_step", note)
    whole, _ = train(fresh(), *parts(standin), recipe)
    assert all(found == rates[0] for found in rates)
    assert len(rates[0]) == 4  # three blocks and the heads
    assert max(starts) > 5 * starts[0]

    save = training.save_checkpoint

    def interrupt(run, path):
        save(run, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", interrupt)
        network = fresh()
        with pytest.raises(KeyboardInterrupt):
            train(network, *parts(standin), recipe)
    resumed, _ = train(network, *parts(standin), recipe)
    assert same_weights(whole, resumed)


def test_a_model_that_is_not_calibrated_takes_nothing_for_unlike(standin):
    trained, _ = train(fresh(), *parts(standin), RECIPE)
    assert judge_all(trained, standin.test.pixels[:20])["like"].all()


def test_targets_are_those_of_what_is_pasted_by_its_part(standin, monkeypatch):
    """Half of each picture is the next one of its batch: so is half of both targets."""

    def half(batch, _rng, share):
        assert share == 0.5
        return batch, torch.arange(len(batch)).roll(-1), torch.full((len(batch),), 0.75)

    seen = []
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    def note(logits, targets):
        seen.append(targets)
        return loss(logits, targets)

    monkeypatch.setattr(training, "cut_mix", half)
    monkeypatch.setattr(training.F, "binary_cross_entropy_with_logits", note)
    recipe = replace(RECIPE, epochs=1, cut_mix=0.5)
    train(fresh(), *parts(standin), recipe)
    (rows,) = training._order(320, recipe, range(1))
    labels = standin.train[:320].labels[rows].float()
    assert torch.equal(seen[0], 0.75 * labels + 0.25 * labels.roll(-1))


def test_the_second_target_is_weighed_and_what_is_not_known_is_left_out():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    kinds = torch.tensor([[0, 1, training.UNKNOWN], [1, training.UNKNOWN, training.UNKNOWN]])
    weights = torch.tensor([[0.5, 0.75, 1.0], [0.5, 0.25, 0.0]])
    losses = -logits.log_softmax(1)
    by_hand = (0.5 * losses[0, 0] + 0.5 * losses[0, 1] + 0.75 * losses[1, 1]) / 1.75
    assert training._kind_loss(logits, kinds, weights).item() == pytest.approx(by_hand.item())
    assert training._kind_loss(logits, torch.full_like(kinds, training.UNKNOWN), weights) == 0


def test_other_processes_corrupt_as_this_one_does(standin, monkeypatch):
    recipe = replace(RECIPE, corrupted=0.6)
    pixels, order = standin.train.pixels, training._order(320, recipe, range(4))
    alone = list(training._batches(pixels, order, recipe, range(4)))
    monkeypatch.setattr(training, "pick_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(training.os, "cpu_count", lambda: 2)
    together = list(training._batches(pixels, order, recipe, range(4)))
    assert all(torch.equal(*batches) for batches in zip(alone, together, strict=True))
    assert not torch.equal(alone[0], pixels[order[0]])
