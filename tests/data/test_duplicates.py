"""The search for duplicates: its steps against references, and that it finds what was inserted and nothing else."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from detector.data import duplicates
from detector.data.duplicates import build_index, correlation, details, exact_groups, linked_groups, search


def scenes(count: int, seed: int = 0) -> torch.Tensor:
    """Return images of coarse random colours, as different as photos: uint8 (count, 3, 32, 32)."""
    coarse = torch.rand(count, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic")
    return (fine.clamp(0, 1) * 255).round().to(torch.uint8)


def test_details_are_scipys_difference_of_gaussians():
    pixels = scenes(2)
    fine, smooth = (gaussian_filter(pixels.numpy().astype(float), (0, 0, sigma, sigma)) for sigma in (0.5, 3))
    assert np.allclose(details(pixels), fine - smooth, atol=1e-2)


@pytest.mark.parametrize("cut", duplicates.ZOOMS)
def test_a_cut_is_pytorchs_bicubic_zoom(cut):
    pixels = scenes(2).float()
    centre = pixels[:, :, cut : 32 - cut, cut : 32 - cut]
    zoomed = torch.nn.functional.interpolate(centre, size=(32, 32), mode="bicubic", align_corners=False)
    assert torch.allclose(details(pixels, cut), details(zoomed), atol=1e-2)


def test_correlation_is_numpys_at_the_best_translation():
    first, second = details(scenes(1)), details(scenes(1, seed=1))
    centre = first[0, :, 4:28, 4:28].flatten().numpy()
    windows = [second[0, :, row : row + 24, column : column + 24] for row in range(9) for column in range(9)]
    best = max(np.corrcoef(centre, window.flatten().numpy())[0, 1] for window in windows)
    # NumPy subtracts each window's mean too, which changes nothing because the centre's mean is already zero
    assert correlation(first, second).item() == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("translation", [(0, 0), (4, -4), (-3, 2)])
def test_a_translated_image_correlates_fully(translation):
    pixels = details(scenes(3))
    assert torch.allclose(correlation(pixels, pixels.roll(translation, (2, 3))), torch.ones(3), atol=1e-4)


def test_no_images_have_no_correlation():
    assert correlation(details(scenes(1))[:0], details(scenes(1))[:0]).shape == (0,)


def test_inserted_duplicates_are_found_and_nothing_else():
    pixels = scenes(400)
    flipped, brighter, other = pixels[7].flip(2), (pixels[11].float() * 0.8 + 30).to(torch.uint8), scenes(1, seed=9)[0]
    found = search(build_index(pixels), torch.stack([pixels[3], flipped, brighter, other]))
    assert found[["query", "row", "flipped"]].to_numpy().tolist() == [[0, 3, False], [1, 7, True], [2, 11, False]]
    assert found["distance"].tolist() == pytest.approx([0, 0, 0], abs=0.02)


def test_an_image_is_no_duplicate_of_itself():
    pixels = torch.cat([scenes(200), scenes(200)[:2]])
    found = search(build_index(pixels), pixels, torch.arange(202))
    assert found[["query", "row"]].to_numpy().tolist() == [[0, 200], [1, 201], [200, 0], [201, 1]]


def test_chunks_do_not_change_the_result(monkeypatch):
    pixels = scenes(60)
    in_one_chunk = search(build_index(pixels), pixels)
    monkeypatch.setattr(duplicates, "CHUNK", 7)
    assert search(build_index(pixels), pixels).round(3).equals(in_one_chunk.round(3))
    assert in_one_chunk["query"].tolist() == list(range(60))


def test_exact_groups_differ_by_one_value():
    pixels = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    pixels[1, 2, 31, 31] = 1
    groups = exact_groups(pixels)
    assert groups[0] == groups[2] != groups[1]


def test_linked_groups_follow_chains():
    groups = linked_groups(6, np.array([0, 4, 1]), np.array([1, 5, 2]))
    assert len({*groups[:3]}) == 1
    assert groups[4] == groups[5]
    assert len(set(groups)) == 3


def test_pillows_enlargement_is_found():
    pixels = scenes(200)
    image = Image.fromarray(pixels[5].permute(1, 2, 0).numpy())
    zoomed = image.resize((32, 32), Image.Resampling.BICUBIC, (2, 2, 30, 30))
    found = search(build_index(pixels), torch.from_numpy(np.array(zoomed)).permute(2, 0, 1)[None])
    assert found["row"].tolist() == [5]
