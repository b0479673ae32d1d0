"""Attribute a prediction to pixels and to spatial frequencies, and measure how faithful an attribution map is.

A map is high where the image supports the predicted class, be it REAL or FAKE. Functions take uint8 pixels
(N, 3, 32, 32); Grad-CAM needs a model without flip TTA (see `without_tta`). Faithfulness is measured by removing or
restoring the highest pixels first (Petsiuk et al. 2018, arXiv 1806.07421), and by comparing with a model of random
weights, whose map should differ (Adebayo et al. 2018, arXiv 1810.03292).
"""

import copy
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2 import functional as TF

from detector.core.labels import SIDE
from detector.data.transforms import to_unit
from detector.inference.predict import probabilities
from detector.models.base import Detector
from detector.models.cnn import CNN

Attribution = Callable[[nn.Module, torch.Tensor], torch.Tensor]  # model, uint8 (N, 3, 32, 32) -> float (N, 32, 32)
PATCH, STRIDE = 6, 2  # of occlusion, in pixels
INTEGRATION_STEPS = 16  # of integrated gradients
GRADIENT_BATCH = 4  # images whose gradients are taken together, or N if larger: they take gigabytes of memory
FAITHFULNESS_STEPS = 16
BANDS = np.arange(0, 17, 2) / SIDE  # edges, in cycles per pixel; only the corners of the spectrum lie above 1/2


def without_tta(model: Detector) -> Detector:
    """Return the same model, with shared weights, without horizontal-flip test-time augmentation."""
    single = copy.copy(model)
    single.flip_tta = False
    return single


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Return images without detail (Gaussian, σ = 3 pixels): the baseline that replaces removed pixels."""
    return TF.gaussian_blur(x, 19, 3.0)


@torch.no_grad()
def _sign(model: nn.Module, x: torch.Tensor, logits: torch.Tensor | None = None) -> torch.Tensor:
    """Return 1 where the model predicts FAKE, else -1: (N,). `logits` are those of `x`, or None."""
    return torch.where((model(x) if logits is None else logits) >= 0, 1.0, -1.0)


def grad_cam(model: CNN, pixels: torch.Tensor, *, stage: int = 0) -> torch.Tensor:
    """Return Grad-CAM maps (N, 32, 32) (Selvaraju et al. 2017, arXiv 1610.02391).

    Args:
        stage: whose features are weighted by their gradients; the first has 16×16 positions, the second 8×8.
    """
    from captum.attr import LayerGradCam

    x = to_unit(pixels)
    maps = LayerGradCam(model, model.stages[stage]).attribute(x) * _sign(model, x)[:, None, None, None]
    return F.interpolate(maps.detach(), size=(SIDE, SIDE), mode="bilinear")[:, 0]


def occlusion(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return maps (N, 32, 32) of the drop of the predicted class's logit when a patch is blurred, mean over patches."""
    from captum.attr import Occlusion

    x = to_unit(pixels)
    window, stride = (3, PATCH, PATCH), (3, STRIDE, STRIDE)
    with torch.no_grad():
        maps = Occlusion(model).attribute(x, window, strides=stride, baselines=_blur(x))
    return maps.mean(1) * _sign(model, x)[:, None, None]


def integrated_gradients(model: nn.Module, pixels: torch.Tensor, *, logits: torch.Tensor | None = None) -> torch.Tensor:
    """Return integrated gradients (N, 32, 32) from the blurred image, summed over colours, slightly smoothed.

    Sundararajan et al. 2017, arXiv 1703.01365. `logits` (N,) are those of the images, where they are known already.
    """
    from captum.attr import IntegratedGradients

    x = to_unit(pixels)
    maps = IntegratedGradients(model).attribute(
        x, baselines=_blur(x), n_steps=INTEGRATION_STEPS, internal_batch_size=max(GRADIENT_BATCH, len(x))
    )
    return _smooth(maps.detach().float().sum(1) * _sign(model, x, logits)[:, None, None])


def _smooth(maps: torch.Tensor) -> torch.Tensor:
    """Blur maps slightly: single pixels are noise both to the eye and to the deletion measure."""
    return TF.gaussian_blur(maps[:, None], 7, 1.0)[:, 0]


def random_map(_model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return smoothed uniform noise (N, 32, 32), the same in each call."""
    return _smooth(torch.rand(len(pixels), SIDE, SIDE, generator=torch.Generator().manual_seed(0)))


def centred_map(_model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return a Gaussian around the centre, where most objects are: (N, 32, 32)."""
    from scipy import stats

    bell = torch.from_numpy(stats.norm.pdf(np.arange(SIDE), (SIDE - 1) / 2, SIDE / 4)).float()
    return (bell[:, None] * bell[None]).expand(len(pixels), -1, -1).contiguous()


def edge_map(_model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return the gradient magnitude of the brightness (N, 32, 32)."""
    from scipy.ndimage import gaussian_gradient_magnitude

    brightness = pixels.float().mean(1).numpy()
    return torch.from_numpy(np.stack([gaussian_gradient_magnitude(image, 1) for image in brightness]))


ATTRIBUTIONS: dict[str, Attribution] = {
    "Grad-CAM, 16×16": grad_cam,
    "Grad-CAM, 8×8": lambda model, pixels: grad_cam(model, pixels, stage=1),
    "occlusion": occlusion,
    "integrated gradients": integrated_gradients,
}
# Maps that ignore the model: what an attribution has to beat
BASELINES: dict[str, Attribution] = {"random": random_map, "centred": centred_map, "edges": edge_map}


@torch.no_grad()
def faithfulness(model: nn.Module, pixels: torch.Tensor, maps: torch.Tensor) -> pd.DataFrame:
    """Measure maps (N, 32, 32) by deletion and insertion: one row an image, columns deletion and insertion.

    Deletion blurs the pixels from the highest down; insertion restores them in the blurred image. Each measure is the
    mean of the predicted class's probability over the steps. A faithful map has low deletion and high insertion.
    """
    x = to_unit(pixels)
    blurred, sign = _blur(x), _sign(model, x)
    rank = maps.flatten(1).argsort(1, descending=True).argsort(1).reshape(len(maps), 1, SIDE, SIDE)
    sums = torch.zeros(2, len(x))
    for step in range(FAITHFULNESS_STEPS + 1):
        changed = rank < SIDE * SIDE * step / FAITHFULNESS_STEPS
        for row, (before, after) in enumerate(((x, blurred), (blurred, x))):
            sums[row] += probabilities(model(torch.where(changed, after, before)) * sign)
    deletion, insertion = (sums / (FAITHFULNESS_STEPS + 1)).numpy()
    return pd.DataFrame({"deletion": deletion, "insertion": insertion})


def map_similarity(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Return Spearman's rank correlation of two maps (N, 32, 32) each, image by image: (N,); 0 if one is constant."""
    from scipy import stats

    ranks = [torch.from_numpy(stats.rankdata(maps.flatten(1).numpy(), axis=1)) for maps in (first, second)]
    return F.cosine_similarity(*(rank - rank.mean(1, keepdim=True) for rank in ranks)).numpy()


def remove_band(pixels: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return images without the spatial frequencies from `low` to below `high`, in cycles per pixel.

    The mean stays. Uint8 (N, 3, 32, 32) to float32 in [0, 1].
    """
    x = to_unit(pixels)
    rows, columns = torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None]
    radius = (rows.square() + columns.square()).sqrt()
    kept = (radius < low) | (radius >= high) | (radius == 0)
    return torch.fft.irfft2(torch.fft.rfft2(x) * kept, s=(SIDE, SIDE)).clamp(0, 1)


@torch.no_grad()
def band_evidence(model: nn.Module, pixels: torch.Tensor, *, logits: torch.Tensor | None = None) -> pd.DataFrame:
    """Measure how much each band of spatial frequencies supports the predicted class.

    The value is the drop of the predicted class's logit when the band is removed: a row an image, a column a band,
    named by its upper edge in cycles per pixel. The last band includes the frequencies above 1/2. `logits` (N,) are
    those of the images, where they are known already.
    """
    x = to_unit(pixels)
    unchanged = model(x) if logits is None else logits
    sign = _sign(model, x, unchanged)
    drops = {}
    for low, high in pairwise(BANDS):
        end = high if high < BANDS[-1] else 1.0
        drops[high] = (sign * (unchanged - model(remove_band(pixels, low, end)))).numpy()
    return pd.DataFrame(drops).rename_axis(columns="cycles per pixel, up to")


def tsne(features: torch.Tensor) -> np.ndarray:
    """Project features (N, F) to two dimensions, (N, 2), by t-SNE (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    return TSNE(init="pca", metric="cosine", random_state=0).fit_transform(features.numpy())
