"""Results and how they come about: the store, the evaluation of released models, robustness, explanation."""

from detector.evaluation.explanation import ATTRIBUTIONS, band_evidence, tsne, without_tta
from detector.evaluation.results import pivot, read_results
from detector.evaluation.run import check_predictions, check_robustness, read_predictions

__all__ = [
    "ATTRIBUTIONS",
    "band_evidence",
    "check_predictions",
    "check_robustness",
    "pivot",
    "read_predictions",
    "read_results",
    "tsne",
    "without_tta",
]
