"""Pictures that show what another shows: exactly, nearly, or mirrored.

Two stages. A short descriptor (8x8 colours, decorrelated) proposes each picture's nearest neighbours, for the picture
as it is and for its mirror image; then every proposed pair is compared by its details, over shifts and zooms. What it
finds and what it misses is measured by `detector.leakage.planted_recall`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA

from detector.progress import progress


@dataclass(frozen=True)
class Reach:
    """How far a search looks: neighbours proposed for a picture (and for its mirror image), and their least cosine."""

    neighbours: int
    cosine: float


QUICK = Reach(4, 0.6)
WIDE = Reach(12, 0.4)  # for the test folder, whose copies must not be missed
ZOOMED = 0.5  # the least correlation from which zooms are tried
SHIFT = 4  # pixels by which the compared centre may move, along each axis
ZOOMS = (1, 2, 3)  # pixels cut off each side before the rest is enlarged
NEAR = 0.15  # the largest distance of a near-copy
CHUNK = 400  # pictures at a time


@dataclass(frozen=True)
class Index:
    """Pictures ready to be searched: uint8 pixels (N, 3, 32, 32), their details (float16), unit descriptors (N, 96)."""

    pixels: torch.Tensor
    details: torch.Tensor
    descriptors: torch.Tensor
    pca: PCA


def _blur(sigma: float) -> torch.Tensor:
    """The matrix that blurs a column of 32 pixels by a Gaussian, edges reflected."""
    return torch.from_numpy(gaussian_filter1d(np.eye(32), sigma, axis=0, mode="reflect")).float()


def _zoom(cut: int) -> torch.Tensor:
    """The matrix that cuts `cut` pixels off both ends of a column of 32 and enlarges the rest, bicubically."""
    columns = torch.eye(32)[None, None, cut : 32 - cut]  # (1, 1, 32 - 2 cut, 32)
    return F.interpolate(columns, size=(32, 32), mode="bicubic", align_corners=False)[0, 0]


WINDOW = torch.ones(32, 32).triu().tril(31 - 2 * SHIFT)[: 2 * SHIFT + 1]  # (9, 32) sums the pixels under the centre
BANDS = {cut: (_blur(0.5) @ _zoom(cut), _blur(3.0) @ _zoom(cut)) for cut in (0, *ZOOMS)}


def details(pixels: torch.Tensor, cut: int = 0) -> torch.Tensor:
    """What is neither smooth ground nor grain: a difference of Gaussians (sigma 1/2 less 3), float32 (N, 3, 32, 32).

    Of the picture with `cut` pixels less on each side, enlarged to the old size; `cut` is 0 or one of ZOOMS.
    """
    fine, smooth = BANDS[cut]
    pixels = pixels.float()
    return fine @ pixels @ fine.T - smooth @ pixels @ smooth.T


def _coarse(pixels: torch.Tensor) -> np.ndarray:
    """8x8 colours, without mean, of length one: float32 (N, 192)."""
    colours = torch.cat([F.avg_pool2d(chunk.float(), 4) for chunk in pixels.split(CHUNK)]).flatten(1)
    return F.normalize(colours - colours.mean(1, keepdim=True), dim=1).numpy()


def describe(pixels: torch.Tensor, pca: PCA) -> torch.Tensor:
    """Unit descriptors, float32 (N, 96): coarse colours on their principal axes, each over the root of its deviation.

    That is half of whitening, in the exponent: the axes come nearer to each other, and noise is not blown up.
    """
    axes = pca.transform(_coarse(pixels)) / pca.explained_variance_**0.25
    return F.normalize(torch.from_numpy(axes.astype(np.float32)), dim=1)


def build_index(pixels: torch.Tensor) -> Index:
    """Make uint8 pictures (N, 3, 32, 32) searchable."""
    pca = PCA(min(96, len(pixels)), random_state=0).fit(_coarse(pixels))
    fine = torch.cat([details(chunk).half() for chunk in pixels.split(CHUNK)])
    return Index(pixels, fine, describe(pixels, pca), pca)


def correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The best normalised cross-correlation of the first pictures' centres within the second, float (N,).

    Both float32 (N, 3, 32, 32); the centre (24x24) may lie up to SHIFT pixels off. By the fast Fourier transform
    (Lewis 1995, 'Fast normalized cross-correlation').
    """
    if not len(first):  # some builds of PyTorch raise on the Fourier transform of nothing
        return first.new_zeros(0)
    centre = first[:, :, SHIFT:-SHIFT, SHIFT:-SHIFT]
    centre = centre - centre.mean((1, 2, 3), keepdim=True)
    padded = F.pad(centre, (SHIFT,) * 4)
    products = (torch.fft.rfft2(second) * torch.fft.rfft2(padded).conj()).sum(1)
    matches = torch.fft.irfft2(products, s=second.shape[-2:])  # circular: shifts below zero stand at the end
    matches = matches.roll((SHIFT, SHIFT), (1, 2))[:, : 2 * SHIFT + 1, : 2 * SHIFT + 1]
    total, squares = (WINDOW @ values.sum(1) @ WINDOW.T for values in (second, second.square()))
    spread = (squares - total.square() / centre.shape[1:].numel()).clamp(min=1e-6).sqrt()  # of each window
    length = centre.flatten(1).norm(dim=1)[:, None, None]
    return (matches / (length * spread).clamp(min=1e-6)).flatten(1).amax(1)


def _distances(queries: torch.Tensor, query: torch.Tensor, index: Index, rows: torch.Tensor) -> torch.Tensor:
    """1 - the best correlation of queries[query] with the pictures in `rows`, over shifts and zooms of either."""
    fine = details(queries)[query]
    best = correlation(fine, index.details[rows].float())
    likely = (best > ZOOMED).nonzero()[:, 0]
    fine, query, rows = fine[likely], query[likely], rows[likely]
    tries = [best[likely]]
    for cut in ZOOMS:
        tries += [correlation(details(queries[query], cut), index.details[rows].float())]
        tries += [correlation(fine, details(index.pixels[rows], cut))]
    best[likely] = torch.stack(tries).amax(0)
    return (1 - best).clamp(min=0)


def _search(index: Index, queries: torch.Tensor, own: torch.Tensor, mirrored: bool, reach: Reach) -> pd.DataFrame:
    """The near-copies of a few queries among their nearest neighbours, except those in the rows `own` (-1 for none)."""
    seen = queries.flip(3) if mirrored else queries
    cosines = describe(seen, index.pca) @ index.descriptors.T
    known = (own >= 0).nonzero()[:, 0]
    cosines[known, own[known]] = -1
    cosine, rows = cosines.topk(min(reach.neighbours, len(index.pixels)), dim=1)
    query, place = (cosine > reach.cosine).nonzero(as_tuple=True)
    rows = rows[query, place]
    distance = _distances(seen, query, index, rows)
    found = pd.DataFrame({"query": query, "row": rows, "mirrored": mirrored, "distance": distance})
    return found[found["distance"] <= NEAR]


def _searches(index: Index, queries: torch.Tensor, own: torch.Tensor, reach: Reach) -> Iterator[pd.DataFrame]:
    chunks = range(0, len(queries), CHUNK)
    with progress(chunks, desc="looking for copies", unit=" chunks", delay=2) as bar:
        for start in bar:
            part = slice(start, start + CHUNK)
            for mirrored in (False, True):
                found = _search(index, queries[part], own[part], mirrored, reach)
                yield found.assign(query=found["query"] + start)


@torch.inference_mode()
def look_up(
    index: Index, queries: torch.Tensor, own: torch.Tensor | None = None, *, reach: Reach = QUICK
) -> pd.DataFrame:
    """The near-copies of each query in the index: columns query, row (int64), mirrored (bool), distance (0 to NEAR).

    Args:
        index: what is searched.
        queries: uint8 (Q, 3, 32, 32).
        own: int64 (Q,), the row of each query in the index, which is no copy of it; None where they are not in it.
        reach: how far to look.

    The distance of two pictures depends a little on which of them is the query: its centre is laid over the other.
    """
    own = torch.full((len(queries),), -1) if own is None else own
    found = pd.concat(_searches(index, queries, own, reach), ignore_index=True)
    found = found.sort_values(["query", "row", "distance", "mirrored"])
    return found.drop_duplicates(["query", "row"], ignore_index=True)


def exact_groups(pixels: torch.Tensor) -> np.ndarray:
    """For each of the uint8 pictures (N, 3, 32, 32) a group number, int64 (N,), equal where all pixels are equal."""
    digests = [hashlib.blake2b(row, digest_size=16).digest() for row in pixels.numpy()]
    return pd.factorize(pd.Series(digests, dtype=object))[0]


def linked_groups(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A group number for each of `count` things, int32 (count,), equal where a chain of pairs links them."""
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(links, directed=False)[1]
