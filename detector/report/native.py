"""Tables of the models at native resolution, from the stored results."""

import numpy as np
import pandas as pd
import torch
from torchvision.transforms.v2 import functional as TF

from detector.core import files
from detector.data.rendered import render
from detector.data.views import overview
from detector.evaluation.leave_out import METRICS
from detector.evaluation.results import pivot, read_results, value_text, with_slice_columns
from detector.models.encoder import embed
from detector.models.native import Native
from detector.models.weights import NATIVE_RELEASED, RELEASED
from detector.report.studies import results_grid, study
from detector.report.tables import in_words, published_results
from detector.training.embeddings import Embeddings
from detector.training.native import TRAINED

MODEL = "native"
RATES = ("auc", "false_positive_rate", "recall")
KINDS = (("family", "generator family", "recall"), ("photos", "photo source", "false_positive_rate"))


def headline_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accuracy on CIFAKE's official test, and AUC on the sources set aside, each by model and best last.

    Columns value, low, high, and ours, which tells this project's models for these images.
    """
    results = read_results().set_index("model")
    cifake = results.query("set == 'test' and slice == '' and metric == 'accuracy'")[["value", "low", "high"]]
    published = published_results()
    elsewhere = pd.DataFrame({"value": published["accuracy (%)"] / 100, "ours": False})
    cifake = pd.concat([elsewhere.set_axis(published.index + ", " + published["grade"]), cifake.assign(ours=True)])
    native = results.query("set == 'held_out' and slice == '' and metric == 'auc'")[["value", "low", "high"]]
    native = native.assign(ours=native.index.isin(list(NATIVE_RELEASED)))
    native = native.rename(index={name: f"{name}, at 32 pixels" for name in RELEASED})
    return cifake.sort_values("value"), native.sort_values("value")


def released_overview() -> pd.DataFrame:
    """Return the four released models at a glance, as text: for which images, and their results."""
    tests = results_grid(["accuracy"])["accuracy"].unstack()
    native = held_out_table().xs("all", level="source")[["AUC", "FPR", "recall"]].loc[list(NATIVE_RELEASED)]
    small = tests.set_axis([f"accuracy, {test} test" for test in tests.columns], axis=1).iloc[:, ::-1]
    table = pd.concat([native, small]).fillna("–")
    table.insert(0, "for", [*["128 pixels or more"] * len(native), *["32×32 pixels"] * len(small)])
    return table.rename_axis("model")


def native_models_table() -> pd.DataFrame:
    """Return means over pairs of a left-out family and a left-out photo source, as text: a row a model."""
    rows = study("native").query("slice == ''")
    return pivot(rows, "model", "metric", "text")[METRICS].rename(columns=in_words)


def left_out_sources() -> pd.DataFrame:
    """Return the results of each left-out generator family and photo source: the mean over its pairs.

    Columns left out ('generator family' or 'photo source'), name, value, low and high (of the AUC), n (pairs), FPR and
    recall.
    """
    rows = study("native").query("model == @MODEL")
    rows = with_slice_columns(rows[~rows["slice"].str.contains("variant=")])
    tables = []
    for key, kind, rate in KINDS:
        own = rows[rows[key] != ""]
        table = own[own["metric"] == "auc"].set_index(key)[["value", "low", "high", "n"]]
        table[in_words(rate)] = own[own["metric"] == rate].set_index(key)["value"]
        tables.append(table.rename_axis("name").reset_index().assign(**{"left out": kind}))
    return pd.concat(tables, ignore_index=True).sort_values(["left out", "value"], ignore_index=True)


def left_out_table() -> pd.DataFrame:
    """Return AUC with its interval, FPR and recall of each left-out family and photo source, as text."""
    table = left_out_sources()
    auc = pd.Series([value_text(row) for row in table.assign(unit="").itertuples()], name="AUC")
    shares = table[["FPR", "recall"]].map(lambda share: "–" if pd.isna(share) else f"{100 * share:.1f}%")
    return shares.set_axis(table["name"]).rename_axis("left out").assign(AUC=auc.to_numpy())[["AUC", "FPR", "recall"]]


def treatments_table() -> pd.DataFrame:
    """Return AUC, FPR and recall on left-out sources after what sites do to images, as text: a row a treatment."""
    rows = study("native").query("model == @MODEL and metric in @RATES")
    rows = rows[rows["slice"].str.fullmatch("variant=[^;]*")]
    return pivot(rows, "variant", "metric", "text").rename(columns=in_words).rename_axis("treatment")


def slices_panels() -> dict[str, pd.DataFrame]:
    """Return AUC, FPR and recall by the style of generated images and by the size of originals: value, low, high."""
    rows = study("native").query("model == @MODEL")
    rows = rows[rows["slice"].str.startswith(("style=", "side="))]
    names = rows["slice"].str.replace("=", " ").str.replace("side", "long side")
    rows = rows.set_index(names.rename("images"))
    return {in_words(metric): own[["value", "low", "high"]] for metric, own in rows.groupby("metric", sort=False)}


def held_out_table() -> pd.DataFrame:
    """Return results on the sources set aside, as text: rows model and source, a column a metric."""
    rows = read_results().query("set == 'held_out'")
    rows = rows.assign(slice=rows["slice"].replace("", "source=all"))
    return pivot(rows, ["model", "source"], "metric", "text").rename(columns=in_words).fillna("–")


def no_photo_table() -> pd.DataFrame:
    """Return the share of images of each kind that are recognised as no photos; columns value, low, high, n."""
    rows = with_slice_columns(study("no_photo"))
    return rows.set_index("kind")[["value", "low", "high", "n"]].astype({"n": int})


def edits_table() -> pd.DataFrame:
    """Return the share of photos called FAKE and their mean P(FAKE) after each edit, as text, and their number."""
    words = {"called_fake": "called FAKE", "mean_probability": "mean P(FAKE)"}
    rows = study("edits")
    counts = pivot(rows, "edit", "metric", "n")["called_fake"].astype(int).rename("photos")
    return pivot(rows, "edit", "metric", "text").rename(columns=words).join(counts)


def shortcut_streams() -> pd.DataFrame:
    """Return how well file properties separate the classes in each stream: the AUC, as text."""
    rows = study("shortcuts").query("metric == 'auc'")
    return pivot(rows, "stream", "metric", "text").rename(columns=in_words)


def embedding_counts(embeddings: Embeddings) -> pd.DataFrame:
    """Return how many groups and images each class has in training."""
    rows = embeddings.rows.query(f"view == 'training' and `class` != 'no photo' and {TRAINED}")
    counts = rows.groupby("class")[["group", "image"]].nunique()
    return counts.rename(columns={"group": "groups", "image": "images"}).iloc[::-1]


def embed_live(embeddings: Embeddings, count: int = 6) -> pd.DataFrame:
    """Embed rendered images here, and return the cosine similarity of each to its stored features, both centred.

    The table is empty where CLIP's encoder is not installed.
    """
    if not files.ENCODER.exists():
        return pd.DataFrame({"cosine similarity": []}, pd.Index([], name="image"))
    live = embed(torch.stack([TF.pil_to_tensor(overview(render(row))) for row in range(count)])).numpy()
    names = [f"rendered/{row}" for row in range(count)]
    stored = embeddings.where(f"image in {names}")
    mean = embeddings.features.mean(0)
    first, second = live - mean, stored.features - mean
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    return pd.DataFrame({"cosine similarity": cosines}, stored.rows["image"])


def compare_heads(first: Native, second: Native) -> pd.DataFrame:
    """Return temperature, limits and OOD threshold of two models, and the largest difference of their weights."""
    rows = {
        "temperature": [model.temperature.item() for model in (first, second)],
        "REAL up to": [model.limits[0].item() for model in (first, second)],
        "FAKE from": [model.limits[1].item() for model in (first, second)],
        "OOD threshold": [model.ood_threshold.item() for model in (first, second)],
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["trained here", "released"])
    difference = (first.head.weight - second.head.weight).abs().max() / second.head.weight.abs().max()
    return pd.concat(
        [table, pd.DataFrame({"trained here": difference.item()}, ["largest relative difference of a weight"])]
    )
