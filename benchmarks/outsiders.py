"""What CIFAKE alone can tell of generators that draw at 32 pixels: `python -m benchmarks.outsiders`.

Networks learn from its train folder, some from what autoencoders make of its photographs too, some from the
differences of neighbouring pixels alone; one-class scores know its photographs only. They are asked about pictures by
adversarial generators and a denoiser, taught here, which none of them met: outsiders.csv has a row a score and maker,
the AUC against CIFAKE's validation photographs. The score with the best mean is asked about `data/unseen/` too; its
first mean AUC there is a line in TEST_LEDGER.md.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors

from detector.data import Dataset, Images, concatenate, load_cifake_only
from detector.evaluation import auc_against, note_first_look
from detector.measured import outsiders_table
from detector.models import CNN, NEIGHBOURS, Detector, Transfer
from detector.prediction import predict_features, predict_logits
from detector.probes import dct_coefficients, noise_residual
from detector.progress import tell_errors
from detector.training import Recipe, train
from detector.unseen import load_unseen
from detector.weights import MODELS_DIR, compact, load_model
from detector.wild import Sources, gather

TABLE = Path(__file__).with_name("outsiders.csv")
NETWORKS = MODELS_DIR.parent / "build" / "outsiders.safetensors"
RECIPE = Recipe(epochs=2)
FITTED = 10_000  # photographs that a one-class score knows
LARGE = "FAKE/sd14"  # the sources of `data/unseen/` that begin so were not drawn at 32 pixels
FEATURES = "distance to photographs, features of "
Score = Callable[[torch.Tensor], np.ndarray]  # of uint8 pictures (N, 3, 32, 32), the higher the more likely FAKE


class NeighbourCNN(CNN):
    """The CNN on what each pixel differs by from the first of its square of two by two (NPR, arXiv 2312.10461)."""

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        first = F.interpolate(pixels[..., ::2, ::2], scale_factor=2)  # by the nearest
        return super().features(0.5 + pixels - first)  # (B, 3, 32, 32), about the middle as pixels are


def reconstructions(sources: Sources) -> Images:
    """What the autoencoders made of CIFAKE's own photographs, and of codes drawn by chance, to train on."""
    made = concatenate(*[parts["train"] for name, parts in sources.items() if "made_autoencoder" in name])
    return made[np.char.find(made.files, "tiny_imagenet") < 0]


def trained_networks(data: Dataset, sources: Sources) -> dict[str, Detector]:
    """The four networks, trained now; build/ keeps their weights."""
    more = concatenate(data.train, reconstructions(sources))
    networks, weights = {}, {}
    for looks_at, network in {"pixels": CNN, "neighbours": NeighbourCNN}.items():
        for knows, train_set in {"": data.train, ", and reconstructions": more}.items():
            name = f"CNN of {looks_at}{knows}"
            torch.manual_seed(RECIPE.seed)
            networks[name], _ = train(network(mirror=True), train_set, data.validation, RECIPE, name=looks_at)
            weights |= {f"{name}: {key}": compact(value) for key, value in networks[name].state_dict().items()}
    NETWORKS.parent.mkdir(exist_ok=True)
    save_file(weights, NETWORKS)
    return networks


def one_class_scores(photographs: torch.Tensor) -> dict[str, Score]:
    """How far pictures lie from these photographs, by features of networks and by plain statistics."""
    networks = {f"{FEATURES}{name}": load_model(MODELS_DIR / f"{name}.safetensors") for name in ("cnn", "transfer")}
    networks |= {"distance to photographs, ImageNet's features": Transfer(pretrained=True).eval()}
    readings = {name: _features(network) for name, network in networks.items()}
    return {name: _nearest(read, photographs) for name, read in readings.items()} | {
        "Mahalanobis to photographs, DCT": _mahalanobis(dct_coefficients, photographs),
        "Mahalanobis to photographs, noise residual": _mahalanobis(noise_residual, photographs),
    }


def _features(network: Detector) -> Score:
    return lambda pixels: predict_features(network, pixels).numpy()


def _nearest(read: Score, photographs: torch.Tensor) -> Score:
    """The distance to the NEIGHBOURS-th of them, as `Detector.distance` has it of fewer pictures of both classes."""
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(read(photographs))
    return lambda pixels: nearest.kneighbors(read(pixels))[0][:, -1]


def _mahalanobis(read: Score, photographs: torch.Tensor) -> Score:
    fitted = LedoitWolf().fit(read(photographs))
    return lambda pixels: fitted.mahalanobis(read(pixels))


def weights_of(score: str) -> Path:
    """The file that a score reads: that of the network whose logits or features they are, or of those trained here."""
    path = MODELS_DIR / f"{score.removeprefix(FEATURES)}.safetensors"
    return path if path.exists() else NETWORKS


def all_scores(data: Dataset, sources: Sources) -> dict[str, Score]:
    """Every score by its name."""
    shipped = {name: load_model(MODELS_DIR / f"{name}.safetensors") for name in ("cnn", "robust")}
    networks = trained_networks(data, sources)
    photographs = data.train.pixels[data.train.labels == 0]
    rows = np.random.default_rng(0).choice(len(photographs), FITTED, replace=False)
    logits = {name: _logits(model) for name, model in (shipped | networks).items()}
    four = [logits[name] for name in networks]
    averaged = {"the four, averaged": lambda pixels: np.mean([score(pixels) for score in four], 0)}
    return logits | averaged | one_class_scores(photographs[rows])


def _logits(model: Detector) -> Score:
    return lambda pixels: predict_logits(model, pixels).numpy()


def aucs(score: Score, photographs: torch.Tensor, fakes: dict[str, torch.Tensor]) -> pd.DataFrame:
    """The AUC of each source's fakes against the photographs: columns source, value, low, high, n."""
    known = score(photographs)
    rows = [(source, *auc_against(known, score(pixels)), len(pixels)) for source, pixels in fakes.items()]
    return pd.DataFrame(rows, columns=["source", "value", "low", "high", "n"])


def main() -> None:
    """Score what was made here by all, and `data/unseen/` by the best of them; write the table, print it."""
    data = load_cifake_only()
    sources = gather(data)
    met = ("FAKE/cifake", "FAKE/made")
    fakes = {name: parts["validation"].pixels for name, parts in sources.items() if name.startswith(met)}
    photographs = sources["REAL/cifake"]["validation"].pixels
    scores = all_scores(data, sources)
    table = pd.concat([aucs(score, photographs, fakes).assign(score=name) for name, score in scores.items()])
    table.to_csv(TABLE, index=False, float_format="%.6f")
    best = outsiders_table(TABLE).index[0]
    unseen = {name: images.pixels for name, images in load_unseen().items() if name.startswith("FAKE")}
    small = {f"unseen/{name}": pixels for name, pixels in unseen.items() if not name.startswith(LARGE)}
    there = aucs(scores[best], data.test.pixels[data.test.labels == 0], small).assign(score=best)
    pd.concat([table, there]).to_csv(TABLE, index=False, float_format="%.6f")
    note_first_look(weights_of(best), "unseen, drawn at 32 pixels, mean AUC", there["value"].mean(), name=best)
    print(outsiders_table(TABLE).round(3).to_string())


if __name__ == "__main__":
    sys.exit(tell_errors(main))
