"""Results and how they come about: the store, the evaluation of released models, robustness, explanation."""

# ruff: noqa: F401 - re-exported

from detector.evaluation.explanation import ATTRIBUTIONS, band_evidence, tsne, without_tta
from detector.evaluation.results import pivot, read_results
from detector.evaluation.run import check_predictions, check_robustness, read_predictions
