"""A linear head that generalises to sources outside its training: linear discriminant analysis over groups.

A group is a photo source or a generator family. Two groups of one class differ in content, camera and processing.
The head treats these differences as noise: the covariance that it whitens contains the scatter between the groups of a
class beside the scatter within groups. This is Fisher's discriminant for clustered data, with ridge regularisation.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from detector.core.labels import FAKE, REAL

RIDGE = 1.0  # added to the diagonal of the covariance of standardised features
BETWEEN = 1.0  # weight of the scatter between groups
POWER = 0.5  # a group's weight in its class is its number of images to this power


@dataclass(frozen=True, eq=False)
class Group:
    """What a head needs of one group: its class, its size, and the first two moments of its features.

    Attributes:
        label: REAL or FAKE.
        size: number of images.
        mean: (F,).
        covariance: within the group, (F, F).
    """

    label: int
    size: int
    mean: np.ndarray
    covariance: np.ndarray


def group_moments(features: np.ndarray, labels: np.ndarray, groups: np.ndarray, images: np.ndarray) -> dict[str, Group]:
    """Return the moments of each group.

    Args:
        features: of one or more views of each image, (N, F).
        labels: (N,), the same within a group.
        groups, images: names, (N,).
    """
    moments = {}
    for name in np.unique(groups):
        rows = groups == name
        own = features[rows].astype(np.float64)
        mean = own.mean(0)
        covariance = (own - mean).T @ (own - mean) / len(own)
        moments[str(name)] = Group(int(labels[rows][0]), len(np.unique(images[rows])), mean, covariance)
    return moments


def fit_head(moments: Mapping[str, Group], left_out: Collection[str] = ()) -> tuple[np.ndarray, float]:
    """Return the weights (F,) and the bias of the head of all groups but those left out.

    A logit of 0 lies halfway between the means of the two classes.
    """
    classes = [[group for name, group in moments.items() if group.label == label and name not in left_out]
               for label in (REAL, FAKE)]  # fmt: skip
    means, within, between = [], 0.0, 0.0
    for groups in classes:
        shares = np.array([group.size**POWER for group in groups])
        shares /= shares.sum()
        centres = np.stack([group.mean for group in groups])
        mean = shares @ centres
        means.append(mean)
        within = within + sum(share * group.covariance for share, group in zip(shares, groups, strict=True)) / 2
        between = between + (centres - mean).T @ (shares[:, None] * (centres - mean)) / 2
    scale = np.sqrt(np.diag(within + between) + 1e-9)
    covariance = (within + BETWEEN * between) / scale[:, None] / scale + RIDGE * np.eye(len(scale))
    weights = np.linalg.solve(covariance, (means[FAKE] - means[REAL]) / scale) / scale
    return weights, float(-weights @ (means[REAL] + means[FAKE]) / 2)
