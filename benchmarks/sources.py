"""Leave one source out: trained without it, scored on it. `python -m benchmarks.sources`.

The network of `wild` goes on from the weights of `transfer`, which know CIFAKE alone, for one pass over a sample of all
sources but some, and is scored on the validation part of each. A row a run and source in sources.csv as soon as a run
ends: the share called FAKE at threshold 1/2, with its interval, and for fakes the AUC against CIFAKE's photographs.
Started again, only what is missing is run (an hour on two cores in all).
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from detector.data import load_cifake_only
from detector.evaluation import evaluate_source
from detector.models import Detector
from detector.prediction import predict
from detector.progress import tell_errors
from detector.shipping import WILD
from detector.training import train
from detector.weights import MODELS_DIR, load_model
from detector.wild import Sources, gather, join

TABLE = Path(__file__).with_name("sources.csv")
RECIPE = replace(WILD, epochs=1, images=30_000, learning_rate=1e-3, ema=0.99)
NOTHING, ALL_BUT_CIFAKE = "nothing", "all but CIFAKE"
LEFT_OUT = {  # in words: what the names of the sources that are left out begin with
    NOTHING: (),
    "all that was made here": ("FAKE/made",),
    "adversarial generators": ("FAKE/made_gan",),
    "the denoiser": ("FAKE/made_denoiser",),
    "Tiny ImageNet": ("REAL/tiny_imagenet",),
    "Stable Diffusion of ImageNet": ("FAKE/sd14_imagenet",),
    "both of ImageNet's things": ("REAL/tiny_imagenet", "FAKE/sd14_imagenet"),
}


def score(model: Detector, sources: Sources) -> pd.DataFrame:
    """The figures of a model on the validation part of each source, threshold 1/2."""
    photographs = predict(model, sources["REAL/cifake"]["validation"].pixels)
    parts = []
    for name, images in ((name, parts["validation"]) for name, parts in sources.items()):
        figures = evaluate_source(predict(model, images.pixels), int(images.labels[0]), photographs)
        parts.append(figures.reset_index().assign(source=name))
    return pd.concat(parts)


def learnt(sources: Sources, what: str) -> Detector:
    """The network, which knows CIFAKE alone, after it went on with all sources but some."""
    start = load_model(MODELS_DIR / "transfer.safetensors")
    if what == ALL_BUT_CIFAKE:
        return start
    start.temperature.fill_(1)
    train_set, validation = (join(sources, part, without=LEFT_OUT[what]) for part in ("train", "validation"))
    return train(start, train_set, validation[::20], RECIPE, name=f"without {what}")[0]  # one round: nothing to choose


def main() -> None:
    """Run what is missing; then print the table."""
    sources = gather(load_cifake_only())
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["without"])
    for what in (ALL_BUT_CIFAKE, *LEFT_OUT):
        if what not in set(table["without"]):
            table = pd.concat([table, score(learnt(sources, what), sources).assign(without=what)])
            table.to_csv(TABLE, index=False, float_format="%.6f")
    print(table.pivot(index="source", columns=["metric", "without"], values="value").round(3).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
