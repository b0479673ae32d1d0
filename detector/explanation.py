"""Where in a picture, and in which frequencies, a verdict comes from.

A map is high where the picture speaks for the verdict that was given, be it REAL or FAKE. All functions here take
uint8 pictures (N, 3, 32, 32); Grad-CAM needs a model that judges one view (see `one_view`). Whether a map tells the
truth about the model is measured: what its high places hold is taken away or shown alone (Petsiuk et al. 2018, arXiv
1806.07421), and it must change when the weights do (Adebayo et al. 2018, arXiv 1810.03292).
"""

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from scipy import stats
from scipy.ndimage import gaussian_gradient_magnitude
from sklearn.manifold import TSNE
from torchvision.transforms.v2 import functional as TF

from detector.models import CNN
from detector.pictures import SIDE
from detector.prediction import probabilities
from detector.preprocessing import to_unit

Maps = Callable[[CNN, torch.Tensor], torch.Tensor]  # uint8 (N, 3, 32, 32) to float (N, 32, 32)
PATCH, STRIDE = 6, 2  # of occlusion, in pixels
ASCENDED = 4  # pictures whose gradients are taken at a time, or all once: of five networks they take a gigabyte
STEPS = 16  # of the pixels in a deletion or insertion
BANDS = np.arange(0, 17, 2) / SIDE  # edges, in cycles per pixel; what lies beyond a half is in the corners


def one_view(model: CNN) -> CNN:
    """The same model, sharing its weights, judging the picture alone and not its mirror image too."""
    single = copy.copy(model)
    single.mirror = False
    return single


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """What a picture is without its details: Gaussian blur of 3 pixels; what is taken away is replaced by it."""
    return TF.gaussian_blur(x, 19, 3.0)


def _sign(model: CNN, x: torch.Tensor) -> torch.Tensor:
    """1 where the verdict is FAKE, -1 where it is REAL: (N,)."""
    with torch.no_grad():
        return torch.where(model(x) >= 0, 1.0, -1.0)


def grad_cam(model: CNN, pixels: torch.Tensor, *, stage: int = 0) -> torch.Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) of a stage's features, by default the first, 16x16."""
    x = to_unit(pixels)
    found = LayerGradCam(model, model.stages[stage]).attribute(x) * _sign(model, x)[:, None, None, None]
    return F.interpolate(found.detach(), size=(SIDE, SIDE), mode="bilinear")[:, 0]


def occlusion(model: CNN, pixels: torch.Tensor) -> torch.Tensor:
    """How much a patch's details speak for the verdict: the logit's fall when it is blurred, mean over the patches."""
    x = to_unit(pixels)
    window, stride = (3, PATCH, PATCH), (3, STRIDE, STRIDE)
    with torch.no_grad():
        found = Occlusion(model).attribute(x, window, strides=stride, baselines=_blurred(x))
    return found.mean(1) * _sign(model, x)[:, None, None]


def integrated_gradients(model: CNN, pixels: torch.Tensor) -> torch.Tensor:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) from the blurred picture, over colours."""
    x = to_unit(pixels)
    at_a_time = max(ASCENDED, len(x))
    found = IntegratedGradients(model).attribute(x, baselines=_blurred(x), n_steps=16, internal_batch_size=at_a_time)
    return _smoothed(found.detach().float().sum(1) * _sign(model, x)[:, None, None])


def _smoothed(maps: torch.Tensor) -> torch.Tensor:
    """A little blurred: single pixels are noise to the eye and to the deletion."""
    return TF.gaussian_blur(maps[:, None], 7, 1.0)[:, 0]


def random_map(_model: CNN, pixels: torch.Tensor) -> torch.Tensor:
    """Chance, as smooth as the others: what a map has to beat."""
    return _smoothed(torch.rand(len(pixels), SIDE, SIDE, generator=torch.Generator().manual_seed(0)))


def centred_map(_model: CNN, pixels: torch.Tensor) -> torch.Tensor:
    """A Gaussian around the middle, where subjects stand."""
    bell = torch.from_numpy(stats.norm.pdf(np.arange(SIDE), (SIDE - 1) / 2, SIDE / 4)).float()
    return (bell[:, None] * bell[None]).expand(len(pixels), -1, -1).contiguous()


def edge_map(_model: CNN, pixels: torch.Tensor) -> torch.Tensor:
    """Where the brightness changes."""
    brightness = pixels.float().mean(1).numpy()
    return torch.from_numpy(np.stack([gaussian_gradient_magnitude(picture, 1) for picture in brightness]))


MAPS: dict[str, Maps] = {
    "Grad-CAM, 16×16": grad_cam,
    "Grad-CAM, 8×8": lambda model, pixels: grad_cam(model, pixels, stage=1),
    "occlusion": occlusion,
    "integrated gradients": integrated_gradients,
}
PLAIN: dict[str, Maps] = {"random": random_map, "centred": centred_map, "edges": edge_map}


@torch.no_grad()
def faithfulness(model: CNN, pixels: torch.Tensor, maps: torch.Tensor) -> pd.DataFrame:
    """What is left of P(verdict) of pictures (N, 3, 32, 32) by maps (N, 32, 32): deletion and insertion, (N,) each.

    Deletion blurs the pixels from the highest down, insertion un-blurs them; each is the mean of P(verdict) over STEPS.
    A good map has a low deletion and a high insertion.
    """
    x = to_unit(pixels)
    without, sign = _blurred(x), _sign(model, x)
    rank = maps.flatten(1).argsort(1, descending=True).argsort(1).reshape(len(maps), 1, SIDE, SIDE)
    sums = torch.zeros(2, len(x))
    for step in range(STEPS + 1):
        high = rank < SIDE * SIDE * step / STEPS  # those changed by now
        for row, (given, taken) in enumerate(((x, without), (without, x))):
            sums[row] += probabilities(model(torch.where(high, taken, given)) * sign)
    deletion, insertion = (sums / (STEPS + 1)).numpy()
    return pd.DataFrame({"deletion": deletion, "insertion": insertion})


def map_similarity(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Spearman's correlation of two maps (N, 32, 32) each, picture by picture: (N,)."""
    ranks = [stats.rankdata(maps.flatten(1).numpy(), axis=1) for maps in (first, second)]
    centred = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    lengths = [np.linalg.norm(rank, axis=1) for rank in centred]
    return (centred[0] * centred[1]).sum(1) / np.maximum(lengths[0] * lengths[1], 1e-12)


def without_band(pixels: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Float pictures in [0, 1] without the frequencies from `low` to below `high` (cycles per pixel), mean kept."""
    x = to_unit(pixels)
    rows, columns = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]
    radius = (rows.square() + columns.square()).sqrt()
    kept = (radius < low) | (radius >= high) | (radius == 0)
    return torch.fft.irfft2(torch.fft.rfft2(x) * kept, s=(SIDE, SIDE)).clamp(0, 1)


@torch.no_grad()
def band_evidence(model: CNN, pixels: torch.Tensor) -> pd.DataFrame:
    """How much each band of frequencies speaks for the verdict: a row a picture, a column a band (its upper edge).

    The fall of the logit towards the verdict when the band is taken out; the last band has the corners too.
    """
    x = to_unit(pixels)
    sign, whole = _sign(model, x), model(x)
    falls = {}
    for low, high in pairwise(BANDS):
        end = high if high < BANDS[-1] else 1.0
        falls[high] = (sign * (whole - model(without_band(pixels, low, end)))).numpy()
    return pd.DataFrame(falls).rename_axis(columns="cycles per pixel, up to")


def lay_out(features: torch.Tensor) -> np.ndarray:
    """Features (N, F) in a plane, (N, 2), neighbours near each other: t-SNE (van der Maaten and Hinton 2008)."""
    return TSNE(init="pca", metric="cosine", random_state=0).fit_transform(features.numpy())
