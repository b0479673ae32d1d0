"""The training loop: deterministic and resumable; it returns the best weights and follows the recipe."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from detector.core import files
from detector.core.console import UserError
from detector.core.labels import UNKNOWN
from detector.data.dataset import Dataset, Images
from detector.inference.decision import decide
from detector.inference.predict import predict
from detector.models.cnn import CNN
from detector.training import batches, loop
from detector.training.loop import train, train_and_keep
from detector.training.recipes import Recipe

RECIPE = Recipe(epochs=3, batch_size=32)


def fresh() -> CNN:
    torch.manual_seed(0)
    return CNN(widths=(16, 16), stem=16)


def subsets(data: Dataset) -> tuple[Images, Images]:
    return data.train[:320], data.validation[:100]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory) -> tuple[CNN, pd.DataFrame]:
    """Train once for all tests that compare with RECIPE's result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHECKPOINTS_DIR", tmp_path_factory.mktemp("checkpoints"))
        return train(fresh(), *subsets(toy), RECIPE)


def same_weights(one: CNN, other: CNN) -> bool:
    return all(torch.equal(tensor, other.state_dict()[key]) for key, tensor in one.state_dict().items())


def without_speed(history: pd.DataFrame) -> pd.DataFrame:
    return history.drop(columns="images_per_second")


def unmixed(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what `augment_and_mix` returns where it changes nothing."""
    return pixels / 255, torch.arange(len(pixels)), torch.ones(len(pixels))


def interrupt() -> None:
    raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_result_and_a_kept_checkpoint_repeats_it_at_once(trained, toy, monkeypatch):
    second, history, checkpoint = train_and_keep(fresh(), *subsets(toy), RECIPE)
    assert same_weights(trained[0], second)
    pd.testing.assert_frame_equal(without_speed(trained[1]), without_speed(history))
    assert checkpoint.exists()
    monkeypatch.setattr(loop, "_step", None)  # no step runs
    third, same_history = train(fresh(), *subsets(toy), RECIPE)
    assert same_weights(second, third)
    pd.testing.assert_frame_equal(history, same_history)
    assert not checkpoint.exists()


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_a_few_steps_are_enough(toy, steps):
    _, history = train(fresh(), toy.train[: 32 * steps], toy.validation[:20], replace(RECIPE, epochs=1))
    assert history["loss"].notna().all()


def test_too_few_images_for_a_batch_are_an_error(toy):
    with pytest.raises(UserError, match="31 images do not fill a batch of 32"):
        train(fresh(), toy.train[:31], toy.validation[:20], RECIPE)


@pytest.mark.parametrize(("evaluations", "stop", "cutmix"), [(1, 0, 0.0), (1, 2, 0.5), (3, 4, 0.5)])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(toy, monkeypatch, evaluations, stop, cutmix):
    recipe = replace(RECIPE, evaluations_per_epoch=evaluations, cutmix=cutmix)
    whole, whole_history = train(fresh(), *subsets(toy), recipe)
    train_steps, network, started = loop._train_steps, fresh(), []

    def interrupted(state, *arguments):
        loss = train_steps(state, *arguments)
        if len(state.history) == stop:  # the steps since the last checkpoint are lost
            raise KeyboardInterrupt
        return loss

    def resumed_steps(state, *arguments):
        started.append(len(state.history))
        return train_steps(state, *arguments)

    monkeypatch.setattr(loop, "_train_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(network, *subsets(toy), recipe)
    monkeypatch.setattr(loop, "_train_steps", resumed_steps)
    resumed, resumed_history = train(network, *subsets(toy), recipe)
    assert started == list(range(stop, 3 * evaluations))
    assert same_weights(whole, resumed)
    pd.testing.assert_frame_equal(without_speed(whole_history), without_speed(resumed_history))


def test_another_recipe_network_or_data_has_another_checkpoint(toy):
    train_set, validation = subsets(toy)
    names = {loop._fingerprint(fresh(), train_set, validation, replace(RECIPE, seed=seed)) for seed in range(3)}
    names.add(loop._fingerprint(fresh(), train_set[:-1], validation, RECIPE))
    names.add(loop._fingerprint(fresh(), train_set, validation[:-1], RECIPE))
    names.add(loop._fingerprint(CNN(widths=(16, 16), stem=16), train_set, validation, RECIPE))
    assert len(names) == 6


def test_the_best_weights_are_returned_not_the_last(toy, monkeypatch):
    kept, accuracies = [], iter([0.9, 0.5, 0.4])

    def evaluate(model, _validation):
        kept.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
        return {"validation_loss": 0.0, "validation_accuracy": next(accuracies)}

    monkeypatch.setattr(loop, "_evaluate", evaluate)
    best, _ = train(fresh(), *subsets(toy), RECIPE)
    assert all(torch.equal(tensor, kept[0][key]) for key, tensor in best.state_dict().items())
    assert not all(torch.equal(tensor, kept[-1][key]) for key, tensor in best.state_dict().items())


def test_training_is_augmented_and_validation_is_not(toy, monkeypatch):
    augmented, scored, features = [], [], CNN.features

    def augment_and_mix(pixels, _rng, _rows, **_options):
        augmented.append(len(pixels))
        return unmixed(pixels)

    def note(self, pixels):
        if not self.training:
            scored.append(pixels)
        return features(self, pixels)

    monkeypatch.setattr(loop, "augment_and_mix", augment_and_mix)
    monkeypatch.setattr(CNN, "features", note)
    train(fresh(), *subsets(toy), RECIPE)
    assert sum(augmented) == RECIPE.epochs * 320
    assert torch.equal(torch.cat(scored)[:100], subsets(toy)[1].pixels / 255)


def test_the_history_describes_the_returned_model(trained, toy):
    model, history = trained
    _, validation = subsets(toy)
    accuracy = ((predict(model, validation.pixels) >= 0.5) == validation.labels).double().mean()
    assert float(accuracy) == pytest.approx(history["validation_accuracy"].max())


def test_a_network_learns_the_toy_dataset(toy):
    test = toy.test[:500]
    model, _ = train(fresh(), toy.train[:1600], toy.validation[:200], Recipe(epochs=2, batch_size=32))
    assert ((predict(model, test.pixels) >= 0.5) == test.labels).double().mean() > 0.9


def test_evaluations_within_an_epoch_keep_its_order(toy, monkeypatch):
    """Each epoch has each image once, and the history's index is the epoch at each evaluation."""
    train_set, validation = subsets(toy)
    batches = []

    def note(pixels, _rng, _rows, **_options):
        batches.append(pixels)
        return unmixed(pixels)

    monkeypatch.setattr(loop, "augment_and_mix", note)
    _, history = train(fresh(), train_set, validation, replace(RECIPE, epochs=2, evaluations_per_epoch=4))
    assert history.index.tolist() == pytest.approx([0.2, 0.5, 0.8, 1, 1.2, 1.5, 1.8, 2])  # of 10 steps an epoch
    first, second = torch.cat(batches).split(320)
    for epoch in (first, second):
        assert torch.equal(torch.unique(epoch, dim=0), torch.unique(train_set.pixels, dim=0))
    assert not torch.equal(first, second)


def test_images_without_an_object_class_train_as_without_the_auxiliary_target(trained, toy):
    train_set, validation = subsets(toy)
    unknown = replace(train_set, object_class=torch.full_like(train_set.object_class, UNKNOWN))
    one, _ = train(fresh(), unknown, validation, RECIPE)
    other, _ = train(fresh(), train_set, validation, replace(RECIPE, auxiliary_weight=0.0))
    assert same_weights(one, other)
    assert not same_weights(one, trained[0])


def unchanged(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_frozen_blocks_keep_their_weights_and_statistics(toy, optimizer):
    recipe = replace(RECIPE, epochs=1, frozen_blocks=2, optimizer=optimizer, learning_rate=6e-3)
    model, _ = train(fresh(), *subsets(toy), recipe)
    for index, blocks in enumerate(zip(fresh().blocks(), model.blocks(), strict=True)):
        weights = [[p for module in block for p in module.parameters()] for block in blocks]
        statistics = [[buffer for module in block for buffer in module.buffers()] for block in blocks]
        assert unchanged(*weights) == (index < 2)
        assert unchanged(*statistics) == (index < 2)
        assert all(p.requires_grad == (index >= 2) for p in weights[1])
    again, _ = train(model, *subsets(toy), replace(RECIPE, epochs=1))
    assert all(p.requires_grad for p in again.parameters())


def test_layer_decay_holds_through_the_schedule_and_after_a_resume(toy, monkeypatch):
    """Every group's learning rate follows the same schedule, scaled."""
    recipe = replace(RECIPE, epochs=2, layer_decay=0.5)
    ratios, rates, step = [], [], loop._step

    def note(state, *arguments):
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        ratios.append(sorted({round(group["lr"] / groups[0]["lr"], 6) for group in groups}))
        rates.append(groups[0]["lr"])
        return step(state, *arguments)

    monkeypatch.setattr(loop, "_step", note)
    whole, _ = train(fresh(), *subsets(toy), recipe)
    assert all(found == ratios[0] for found in ratios)
    assert len(ratios[0]) == 4  # three blocks and the heads
    assert max(rates) > 5 * rates[0]
    save, network = loop.save_checkpoint, fresh()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", lambda state, path: (save(state, path), interrupt()))
        with pytest.raises(KeyboardInterrupt):
            train(network, *subsets(toy), recipe)
    resumed, _ = train(network, *subsets(toy), recipe)
    assert same_weights(whole, resumed)


def test_a_model_without_calibration_takes_nothing_for_ood(trained, toy):
    assert decide(trained[0], toy.test.pixels[:20])["in_distribution"].all()


def test_cutmix_mixes_the_targets_by_area(toy, monkeypatch):
    """A quarter of each image comes from the next image of its batch, and so does a quarter of its target."""
    seen, loss = [], torch.nn.functional.binary_cross_entropy_with_logits

    def augment_and_mix(pixels, _rng, _rows, *, max_translation, cutmix):
        assert (max_translation, cutmix) == (2, 0.5)
        return pixels / 255, torch.arange(len(pixels)).roll(-1), torch.full((len(pixels),), 0.75)

    def note(logits, targets):
        seen.append(targets)
        return loss(logits, targets)

    monkeypatch.setattr(loop, "augment_and_mix", augment_and_mix)
    monkeypatch.setattr(loop.F, "binary_cross_entropy_with_logits", note)
    recipe = replace(RECIPE, epochs=1, cutmix=0.5)
    train(fresh(), *subsets(toy), recipe)
    (rows,) = batches.batch_rows(320, recipe, range(1))
    labels = toy.train[:320].labels[rows].float()
    assert torch.equal(seen[0], 0.75 * labels + 0.25 * labels.roll(-1))


def test_the_auxiliary_loss_is_weighted_and_ignores_unknown_targets():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    targets = torch.tensor([[0, 1, UNKNOWN], [1, UNKNOWN, UNKNOWN]])
    weights = torch.tensor([[0.5, 0.75, 1.0], [0.5, 0.25, 0.0]])
    losses = -logits.log_softmax(1)
    by_hand = (0.5 * losses[0, 0] + 0.5 * losses[0, 1] + 0.75 * losses[1, 1]) / 1.75
    assert loop._auxiliary_loss(logits, targets, weights).item() == pytest.approx(by_hand.item())
    assert loop._auxiliary_loss(logits, torch.full_like(targets, UNKNOWN), weights) == 0
