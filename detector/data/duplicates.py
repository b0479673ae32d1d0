"""Find duplicates: images with the same content, exactly, nearly or flipped.

A short descriptor (8x8 colours, partly whitened) proposes the nearest neighbours of each image and of its mirror image.
Each proposed pair is then compared by normalised cross-correlation of its details, over translations and zooms.
`detector.eda.leakage.synthetic_recall` measures how many duplicates this finds.
"""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from detector.core.console import progress

# How many neighbours are compared with an image (and with its mirror image), and their least cosine
QUICK, WIDE = (4, 0.6), (12, 0.4)  # WIDE is for the test folder, where recall matters most
ZOOM_CORRELATION = 0.5  # zooms are compared only for pairs that correlate at least this much without a zoom
MAX_TRANSLATION = 4  # pixels, along each axis
ZOOMS = (1, 2, 3)  # pixels cut off each side before the rest is enlarged
MAX_DISTANCE = 0.15  # of a near-duplicate
CHUNK = 400  # images that are compared at a time
# (9, 32): sums a column of pixels under each position of the centre
WINDOW = torch.ones(32, 32).triu().tril(31 - 2 * MAX_TRANSLATION)[: 2 * MAX_TRANSLATION + 1]


@dataclass(frozen=True)
class DuplicateIndex:
    """Images to be searched.

    Attributes:
        pixels: uint8 (N, 3, 32, 32).
        descriptors: float32 (N, 96), of unit length.
        pca: The fitted sklearn PCA of the descriptors.
    """

    pixels: torch.Tensor
    descriptors: torch.Tensor
    pca: object


@functools.cache
def _bands(cut: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrices (32, 32) that zoom a column of pixels by `cut`, then blur it by sigma 1/2 and by sigma 3."""
    from scipy.ndimage import gaussian_filter1d

    columns = torch.eye(32)[None, None, cut : 32 - cut]  # (1, 1, 32 - 2 cut, 32)
    zoom = F.interpolate(columns, size=(32, 32), mode="bicubic", align_corners=False)[0, 0]
    blurs = (gaussian_filter1d(np.eye(32), sigma, axis=0, mode="reflect") for sigma in (0.5, 3.0))
    fine, smooth = (torch.from_numpy(blur).float() @ zoom for blur in blurs)
    return fine, smooth


def details(pixels: torch.Tensor, cut: int = 0) -> torch.Tensor:
    """Return a difference of Gaussians (sigma 1/2 less sigma 3), float32 (N, 3, 32, 32).

    Args:
        pixels: uint8 or float (N, 3, 32, 32).
        cut: Pixels cut off each side before the image is enlarged to its old size; 0 or one of ZOOMS.
    """
    fine, smooth = _bands(cut)
    pixels = pixels.float()
    return fine @ pixels @ fine.T - smooth @ pixels @ smooth.T


def _coarse(pixels: torch.Tensor) -> np.ndarray:
    """Return 8x8 colours without their mean, of unit length: float32 (N, 192)."""
    colours = torch.cat([F.avg_pool2d(chunk.float(), 4) for chunk in pixels.split(CHUNK)]).flatten(1)
    return F.normalize(colours - colours.mean(1, keepdim=True), dim=1).numpy()


def describe(pixels: torch.Tensor, pca: object) -> torch.Tensor:
    """Return unit descriptors, float32 (N, 96): principal components over the root of their standard deviation.

    This is half of whitening (in the exponent): large components weigh less, and noise is not amplified.
    """
    components = pca.transform(_coarse(pixels)) / pca.explained_variance_**0.25
    return F.normalize(torch.from_numpy(components.astype(np.float32)), dim=1)


def build_index(pixels: torch.Tensor) -> DuplicateIndex:
    """Return a searchable index of uint8 images (N, 3, 32, 32)."""
    from sklearn.decomposition import PCA

    pca = PCA(min(96, len(pixels)), random_state=0).fit(_coarse(pixels))
    return DuplicateIndex(pixels, describe(pixels, pca), pca)


def correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the best normalised cross-correlation of the first images' centres within the second, float (N,).

    Both are float32 (N, 3, 32, 32). The 24x24 centre is translated by up to MAX_TRANSLATION pixels, by the fast Fourier
    transform (Lewis 1995, 'Fast normalized cross-correlation').
    """
    if not len(first):  # some builds of PyTorch raise on the Fourier transform of an empty tensor
        return first.new_zeros(0)
    margin, positions = MAX_TRANSLATION, 2 * MAX_TRANSLATION + 1
    centre = first[:, :, margin:-margin, margin:-margin]
    centre = centre - centre.mean((1, 2, 3), keepdim=True)
    padded = F.pad(centre, (margin,) * 4)
    products = (torch.fft.rfft2(second) * torch.fft.rfft2(padded).conj()).sum(1)
    matches = torch.fft.irfft2(products, s=second.shape[-2:])  # circular: negative translations are at the end
    matches = matches.roll((margin, margin), (1, 2))[:, :positions, :positions]
    total, squares = (WINDOW @ values.sum(1) @ WINDOW.T for values in (second, second.square()))
    spread = (squares - total.square() / centre.shape[1:].numel()).clamp(min=1e-6).sqrt()  # in each window
    length = centre.flatten(1).norm(dim=1)[:, None, None]
    return (matches / (length * spread).clamp(min=1e-6)).flatten(1).amax(1)


def _distances(queries: torch.Tensor, query: torch.Tensor, index: DuplicateIndex, rows: torch.Tensor) -> torch.Tensor:
    """Return 1 - the best correlation of queries[query] with the index's `rows`, over translations and zooms."""
    fine, other = details(queries)[query], details(index.pixels[rows]).half().float()  # rounded as in data/leaks.csv
    best = correlation(fine, other)
    likely = (best > ZOOM_CORRELATION).nonzero()[:, 0]
    fine, other, query, rows = fine[likely], other[likely], query[likely], rows[likely]
    tries = [best[likely]]
    for cut in ZOOMS:
        tries += [correlation(details(queries[query], cut), other)]
        tries += [correlation(fine, details(index.pixels[rows], cut))]
    best[likely] = torch.stack(tries).amax(0)
    return (1 - best).clamp(min=0)


def _search(
    index: DuplicateIndex, queries: torch.Tensor, own: torch.Tensor, flipped: bool, reach: tuple
) -> pd.DataFrame:
    """Return the duplicates of one chunk of queries, or of their mirror images."""
    queries = queries.flip(3) if flipped else queries
    cosines = describe(queries, index.pca) @ index.descriptors.T
    indexed = (own >= 0).nonzero()[:, 0]
    cosines[indexed, own[indexed]] = -1
    neighbours, least_cosine = reach
    cosine, rows = cosines.topk(min(neighbours, len(index.pixels)), dim=1)
    query, place = (cosine > least_cosine).nonzero(as_tuple=True)
    rows = rows[query, place]
    distance = _distances(queries, query, index, rows)
    found = pd.DataFrame({"query": query, "row": rows, "flipped": flipped, "distance": distance})
    return found[found["distance"] <= MAX_DISTANCE]


@torch.inference_mode()
def search(
    index: DuplicateIndex, queries: torch.Tensor, own: torch.Tensor | None = None, *, reach: tuple = QUICK
) -> pd.DataFrame:
    """Return the duplicates of each query in an index.

    The distance depends a little on which image of a pair is the query, because the query's centre is translated.

    Args:
        index: The images that are searched.
        queries: uint8 (Q, 3, 32, 32).
        own: int64 (Q,), the row of each query in the index, which is skipped; -1 or None where it is not indexed.
        reach: QUICK or WIDE, the neighbours that are compared.

    Returns a row for each pair: query and row (int64), flipped (bool), distance (0 to MAX_DISTANCE).
    """
    own = torch.full((len(queries),), -1) if own is None else own
    tables = []
    for start in progress(range(0, len(queries), CHUNK), desc="searching for duplicates", unit=" chunks", delay=2):
        rows = slice(start, start + CHUNK)
        for flipped in (False, True):
            found = _search(index, queries[rows], own[rows], flipped, reach)
            tables.append(found.assign(query=found["query"] + start))
    found = pd.concat(tables, ignore_index=True).sort_values(["query", "row", "distance", "flipped"])
    return found.drop_duplicates(["query", "row"], ignore_index=True)


def exact_groups(pixels: torch.Tensor) -> np.ndarray:
    """Return a group number for each image, int64 (N,), equal for images whose uint8 pixels are all equal."""
    hashes = [hashlib.blake2b(row, digest_size=16).digest() for row in pixels.numpy()]
    return pd.factorize(pd.Series(hashes, dtype=object))[0]


def linked_groups(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a group number for each of `count` rows, int32 (count,), equal for rows that a chain of pairs links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return connected_components(links, directed=False)[1]
