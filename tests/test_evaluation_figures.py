"""Figures of the further evaluation: no model is left out."""

import pandas as pd
import torch

from detector.evaluation_figures import reliability_diagrams, risk_coverage_curves
from detector.metrics import reliability, risk_coverage
from detector.weights import SHIPPED


def test_each_shipped_model_has_its_colour_in_both():
    labels = torch.arange(400) % 2
    probs = {name: torch.rand(400, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate(SHIPPED)}
    diagrams = reliability_diagrams({name: reliability(p, labels) for name, p in probs.items()})
    assert [cell.get_title() for cell in diagrams.axes if cell.get_title()] == list(SHIPPED)
    points = pd.DataFrame({"coverage": 0.9, "risk": 0.1}, index=list(SHIPPED))
    curves = risk_coverage_curves({name: risk_coverage(p, labels) for name, p in probs.items()}, points)
    lines = [line for line in curves.axes[0].lines if line.get_label() in SHIPPED]
    assert [line.get_label() for line in lines] == list(SHIPPED)
    assert len({line.get_color() for line in lines}) == len(SHIPPED)
