"""Rewrite the result files of version 0.2 in the common schema. Run once, then removed.

Values are copied from the old files. Intervals of accuracies that had none are Wilson's, from the value and n.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from detector.core import files
from detector.evaluation.results import COLUMNS, slice_of, unit_of, write_results
from detector.metrics.intervals import proportion

OLD = Path(__file__).parent
METRICS = {
    "false_fake_rate": "false_positive_rate",
    "accuracy_answered": "selective_accuracy",
    "unlike_rate": "ood_rate",
    "steady_rate": "stable_rate",
    "unlike_auc": "ood_auc",
}
MODELS = {"wild": "multi-source"}
VALIDATION, TEST, LEAK_FREE = 4977, 20_000, 18_879
SOURCES = {"made_": "generated_"}


def frame(rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    text = [c for c in COLUMNS if c not in ("seed", "value", "low", "high", "n")]
    table[text] = table[text].fillna("")
    return table.astype({"seed": "Int64", "n": "Int64", "value": float, "low": float, "high": float})


def accuracy(value: float, n: int, **key) -> dict:
    _, low, high, _ = proportion(round(value * n), n)
    return key | {"metric": "accuracy", "value": value, "low": low, "high": high, "n": n, "unit": "proportion"}


def place(old: str) -> tuple[str, str]:
    """Return set and slice of an old set's name."""
    first, _, rest = old.partition("/")
    if first == "unseen":
        return "unseen", slice_of(source=rest) if rest else ""
    if first == "robustness":
        kind, severity = rest.split("/")
        if kind == "pgd":
            return "test", slice_of(every=40, pgd=severity)
        return "test", slice_of(every=10) if kind == "none" else slice_of(every=10, corruption=kind, severity=severity)
    return {"val": "validation"}.get(first, first), slice_of(every=10) if rest == "slice" else ""


def released() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = []
    for old in json.loads((files.MODELS_DIR / "results.json").read_text()):
        set_, slice_ = place(old["set"])
        metric, model = METRICS.get(old["metric"], old["metric"]), MODELS.get(old["model"], old["model"])
        new = {key: old[key] for key in ("value", "low", "high", "n")}
        experiment = "evaluation" if model in ("cnn", "transfer", "multi-source") else "not released"
        unit = unit_of(metric)
        rows.append(
            {
                "experiment": experiment,
                "model": model,
                "set": set_,
                "slice": slice_,
                "metric": metric,
                "unit": unit,
                **new,
            }
        )
    table = frame(rows).drop_duplicates(["model", "set", "slice", "metric"])  # the unchanged tenth was there twice
    order = {name: row for row, name in enumerate(["cnn", "transfer", "multi-source", "small", "robust", "ensemble"])}
    table = table.sort_values("model", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return table[table["experiment"] == "evaluation"], table[table["experiment"] == "not released"]


def ablation() -> pd.DataFrame:
    variants = {"the recipe": "full recipe", "AdamW for the kernels too": "AdamW instead of Muon",
                "no second target": "no auxiliary target", "neither": "AdamW, no auxiliary target",
                "no averaging of the weights": "no weight averaging", "no moves": "no random translation"}  # fmt: skip
    rows = []
    for old in pd.read_csv(OLD / "ablation.csv", dtype={"what": str}).itertuples():
        part = old.study == "part"
        key = {"experiment": "recipe components" if part else "training images", "model": "cnn", "seed": old.seed,
               "set": "validation", "slice": slice_of(variant=variants[old.what]) if part else slice_of(images=old.what)}  # fmt: skip
        rows.append(accuracy(old.accuracy, VALIDATION, **key))
    return frame(rows)


def speed() -> pd.DataFrame:
    timed = "bfloat16, at the same shapes, timed after each run"
    names = {
        "decode and check every file": ("", "", "data", "once", "decoding and checking rate", 120_000),
        "load again from the cache": ("", "", "data", "median", "loading from the cache", 3),
        "training: pictures": ("cnn", "", "training", "median over seeds", "training rate", 5),
        "training: share of its convolutions' own speed": ("cnn", "", "training", timed, "share of its convolutions' speed", 5),
        "training: share of a large matrix product's speed": ("cnn", "", "training", "bfloat16, timed after each run", "share of a large matrix product's speed", 5),
        "inference: one picture": ("cnn", "test", "inference", "median", "one image", 50),
        "inference: many pictures": ("cnn", "test", "inference", "median", "inference rate", 3),
        "inference: share of its convolutions' own speed": ("cnn", "test", "inference", timed.replace("bfloat16", "float32"), "share of its convolutions' speed", 3),
        "inference: the test folder": ("cnn", "test", "inference", "median", "test set", 3),
        "to 96%: validation accuracy, mean": ("cnn", "validation", "training", "mean over seeds", "accuracy, mean", 5),
        "to 96%: validation accuracy, lowest": ("cnn", "validation", "training", "over seeds", "accuracy, lowest", 5),
        "to 96%: our recipe, whole training": ("cnn", "", "training", "median over seeds, with an evaluation after each epoch", "whole training", 5),
        "to 96%: usual recipe at 224 px, whole training": ("usual CNN", "", "training", "one sample, scaled to 20 epochs", "whole training", 1),
        "to 96%: usual recipe / ours, seconds": ("usual CNN", "", "training", "ratio to cnn, same run", "time relative to cnn", 1),
        "to 96%: usual recipe / ours, MACs": ("usual CNN", "", "training", "ratio to cnn, counted", "MACs relative to cnn", 1),
        "to 96%: compact rival, 25 epochs": ("compact CNN", "", "training", "one sample, scaled to 25 epochs, in our training loop", "whole training", 1),
        "to 96%: compact rival / ours, seconds": ("compact CNN", "", "training", "ratio to cnn, same run", "time relative to cnn", 1),
        "to 96%: compact rival / ours, MACs": ("compact CNN", "", "training", "ratio to cnn, counted", "MACs relative to cnn", 1),
    }  # fmt: skip
    rows, common = [], {"experiment": "speed", "device": "cpu, 2 threads"}
    for old in pd.read_csv(OLD / "bench.csv").itertuples():
        model, set_, stage, note, metric, n = names[old.what]
        key = common | {"model": model, "set": set_, "slice": slice_of(stage=stage, note=note)}
        rows.append(key | {"metric": metric, "value": old.value, "unit": "x" if old.unit == "×" else old.unit, "n": n})
        if found := re.search(r"([\d,]+) GMAC/s", old.how):
            rows.append(
                key
                | {
                    "metric": "large matrix product",
                    "value": float(found[1].replace(",", "")),
                    "unit": "GMAC/s",
                    "n": n,
                }
            )
        if found := re.search(r"deviation ([\d.]+)", old.how):
            key["slice"] = slice_of(stage="training", note="over seeds")
            rows.append(
                key | {"metric": "accuracy, standard deviation", "value": float(found[1]), "unit": "points", "n": n}
            )
    return frame(rows)


def gpu_speed() -> pd.DataFrame:
    rows = []
    for old in pd.read_csv(OLD / "race.csv").itertuples():
        key = {"experiment": "gpu speed", "model": "cnn", "seed": old.seed, "set": "validation", "device": old.device}
        rows += [
            key | {"metric": "seconds", "value": old.seconds, "unit": "s"},
            accuracy(old.accuracy, VALIDATION, **key),
        ]
    return frame(rows)


def transfer() -> pd.DataFrame:
    names = {"lite0-64-head": "lite0-64-probe", "lite0-64-last": "lite0-64-last-blocks",
             "lite0-64-statistics": "lite0-64-batch-norm", "cnn-64-128-256-subjects-first": "cnn-64-128-256-classes-first"}  # fmt: skip
    units = {"parameters": "", "MACs": "", "images": "", "seconds": "s", "images_per_second": "images/s"}
    rows = []
    for old in pd.read_csv(OLD / "transfers.csv").to_dict("records"):
        key = {"experiment": "equal time", "model": names.get(old["variant"], old["variant"]), "seed": 0,
               "set": "validation", "slice": slice_of(budget=f"{old['budget']:.0f} s"), "device": old["device"]}  # fmt: skip
        rows += [key | {"metric": metric, "value": old[metric], "unit": unit} for metric, unit in units.items()]
        rows.append(
            key
            | {"metric": "accuracy", "value": old["validation_accuracy"], "unit": "proportion"}
            | {c: old[c] for c in ("low", "high", "n")}
        )
        rows.append(key | {"metric": "loss", "value": old["validation_loss"], "unit": "nats"})
    return frame(rows)


def seeds() -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = {
        "validation": ("validation", VALIDATION),
        "official test": ("test", TEST),
        "leak-free test": ("leak_free", LEAK_FREE),
    }
    rows = [
        accuracy(old[column], n, experiment="seeds", model=old["model"], seed=old["seed"], set=set_)
        for old in pd.read_csv(OLD / "seeds.csv").to_dict("records")
        for column, (set_, n) in columns.items()
    ]
    table = frame(rows)
    small = table["model"] == "small"
    return table[~small], table[small].assign(experiment="not released: seeds")


def ood() -> pd.DataFrame:
    scores = {"confidence (the energy's order too)": "confidence", "Mahalanobis, relative": "relative Mahalanobis",
              "mixture of Gaussians": "Gaussian mixture", "nearest of 10,000": "kNN, 1st of 10,000",
              "fiftieth nearest of 10,000": "kNN, 50th of 10,000", "5th nearest of 500, as shipped": "kNN, 5th of 500 (released)"}  # fmt: skip
    images = {"drawings": "rendered drawings", "screenshots": "rendered screenshots", "pure noise": "uniform noise",
              "upside down": "CIFAKE, upside down", "CIFAKE, blur, σ in pixels 2": "CIFAKE, blur, severity 5",
              "CIFAKE, noise, σ 0.1": "CIFAKE, noise, severity 5", "CIFAKE, cut to the middle 0.6": "CIFAKE, crop, severity 5"}  # fmt: skip
    return frame([
        {"experiment": "ood scores", "model": "cnn", "set": "calibration", "metric": "auc",
         "slice": slice_of(score=scores.get(old.score, old.score), images=images.get(old.kind, old.kind)),
         "value": old.value, "low": old.low, "high": old.high, "n": old.n}
        for old in pd.read_csv(OLD / "unlikeness.csv").itertuples()
    ])  # fmt: skip


def faithfulness() -> pd.DataFrame:
    return frame([
        {"experiment": "faithfulness", "model": "cnn", "set": "validation", "slice": slice_of(map=old.map),
         "metric": {"like random weights": "similarity_to_random_weights"}.get(old.measure, old.measure),
         "value": old.value, "low": old.low, "high": old.high, "n": old.n}
        for old in pd.read_csv(OLD / "explanations.csv").itertuples()
    ])  # fmt: skip


def source_name(old: str) -> str:
    return old.replace("/made_", "/")


def not_released_studies() -> list[pd.DataFrame]:
    def rows(name: str, experiment: str, model, slice_, set_: str = "validation") -> pd.DataFrame:
        found = []
        for old in pd.read_csv(OLD / f"{name}.csv").rename(columns={"accuracy": "value"}).to_dict("records"):
            metric = METRICS.get(old.get("metric", "auc"), old.get("metric", "auc"))
            metric = "accuracy" if name == "ensembles" else metric
            found.append({"experiment": f"not released: {experiment}", "model": model(old), "set": set_ if isinstance(set_, str) else set_(old),
                          "slice": slice_(old), "metric": metric, "unit": unit_of(metric), **{c: old[c] for c in ("value", "low", "high", "n")}})  # fmt: skip
        return frame(found)

    sets = {"validation": "validation", "official test": "test", "leak-free test": "leak_free"}
    left_out = {"nothing": "nothing", "all that was made here": "all generators of this project", "adversarial generators": "its GANs",
                "the denoiser": "its denoiser", "Tiny ImageNet": "Tiny ImageNet", "Stable Diffusion of ImageNet": "Stable Diffusion, ImageNet classes",
                "both of ImageNet's things": "both sources of ImageNet classes", "all but CIFAKE": "all but CIFAKE"}  # fmt: skip
    return [
        rows("ensembles", "ensembles", lambda _: "ensemble", lambda old: slice_of(members=old["members"]), lambda old: sets[old["set"]]),
        rows("sources", "leave one source out", lambda _: "multi-source, short training",
             lambda old: slice_of(without=left_out[old["without"]], source=source_name(old["source"]))),
        rows("outsiders", "one-class scores", lambda _: "several", lambda old: slice_of(score=old["score"].replace("shipped", "released"), source=source_name(old["source"].removeprefix("unseen/"))),
             lambda old: "unseen" if old["source"].startswith("unseen/") else "validation"),
        rows("patches", "crops", lambda old: MODELS.get(old["model"], old["model"]), lambda old: slice_of(input={"whole": "full image", "parts": "crops", "whole and parts": "full image and crops"}[old["way"]], source=old["source"])),
        rows("resolutions", "resolutions", lambda _: "cnn", lambda old: slice_of(training=old["run"].replace(" pixels", " px").replace(", for longer", ", four times the epochs"), source=source_name(old["source"]))),
    ]  # fmt: skip


def main() -> None:
    current, former = released()
    write_results(current, files.RESULTS)
    kept, small = seeds()
    studies = {"ablation": ablation(), "speed": speed(), "gpu_speed": gpu_speed(), "transfer": transfer(), "seeds": kept,
               "ood": ood(), "faithfulness": faithfulness(), "not_released": pd.concat([former, small, *not_released_studies()])}  # fmt: skip
    for name, table in studies.items():
        write_results(table, files.STUDIES_DIR / f"{name}.csv")
        print(name, len(table), table["value"].isna().sum(), table.duplicated(COLUMNS[:6] + ["device"]).sum())
    print("released", len(current), np.unique(current["model"]))
    old = pd.read_csv(files.MODELS_DIR / "predictions.csv", dtype=str)
    old.insert(1, "label", old["file"].str.contains("FAKE").astype(int))
    old = old[["file", "label", "cnn", "transfer", "wild"]].rename(columns=MODELS)
    with files.atomic_write(files.PREDICTIONS) as part:
        old.to_csv(part, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
