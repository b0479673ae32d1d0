"""The ablation: variants that differ from the full recipe in one component, and sizes with equally many steps."""

from dataclasses import asdict

from benchmarks.ablation import COMPONENTS, SEEDS, variants
from benchmarks.study import Study
from detector.training.recipes import FAST


def test_components_differ_from_the_full_recipe_where_their_name_says():
    changed = {
        name: {key for key, value in asdict(recipe).items() if value != asdict(FAST)[key]}
        for name, recipe in COMPONENTS.items()
    }
    assert changed == {
        "full recipe": set(),
        "AdamW instead of Muon": {"optimizer", "learning_rate"},
        "no auxiliary target": {"auxiliary_weight"},
        "AdamW, no auxiliary target": {"optimizer", "learning_rate", "auxiliary_weight"},
        "no weight averaging": {"ema_decay"},
        "no random translation": {"max_translation"},
    }


def test_fewer_images_are_seen_more_often():
    sizes = {slice_: recipe for experiment, slice_, recipe in variants(90_040) if experiment == "training images"}
    assert list(sizes) == ["images=90040", "images=22510", "images=5627"]
    seen = [recipe.epochs * (recipe.images or 90_040) for recipe in sizes.values()]
    assert all(90_040 - 16 < images <= 90_040 for images in seen)


def test_committed_results_have_every_variant_with_three_seeds():
    study = Study("ablation")
    for experiment, slice_, _ in variants(90_040):
        assert all(study.has(experiment=experiment, slice=slice_, seed=seed) for seed in SEEDS), slice_
