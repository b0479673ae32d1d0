"""The demo's words: introduction, limits, and the HTML of a prediction."""

import html
from collections.abc import Iterable

from detector.core.labels import CLASSES
from detector.inference.calibration import CERTAINTY, RISK
from detector.inference.prediction import ABSTAIN, Prediction
from detector.models.base import Detector
from detector.models.weights import RELEASED
from detector.report.model_card import source_limits

TITLE = "Real or AI-generated?"
ABOUT = f"""
# {TITLE}

Upload an image. The model predicts REAL (a photo) or FAKE (AI-generated), and P(FAKE), the probability that the image
is FAKE. Bars and borders around the image are removed. The image is then cropped to its centre square and resized to
32×32 pixels, the size that the models were trained on.
**A prediction is not proof.**
"""
LIMITS = f"""
**Training data.** CIFAKE: small photos of animals and vehicles in ten classes, and images of the same classes by one
generator, Stable Diffusion 1.4.

**Abstention.** A model abstains ('{ABSTAIN}') if the image differs from the training images, if the model is not
confident, or if a small change (JPEG compression, resizing, cropping) changes the prediction. On unmodified CIFAKE
images, at most {RISK:.1%} of the remaining predictions are wrong, with {CERTAINTY:.0%} certainty.

**Errors to expect.** On photos from other sources and images by other generators, the models are often wrong or not
sure. They often classify images of 32-pixel generators as REAL, with high confidence. Resizing to 32×32
pixels removes most traces that a generator leaves in a large image.

**Privacy.** Images are processed on the computer that serves this page, and deleted there after about an hour. With a
public link they also pass through the servers of Gradio, the company behind this interface.
"""
METRICS = """
**Results by source.** *FPR*: share of photos predicted FAKE. *Recall*: share of generated images
predicted FAKE. *AUC*: how well P(FAKE) separates generated images from photos, from 0.5 (chance) to 1. *OOD rate*:
share of images that differ from the training images. *Coverage*: share of images without abstention.
*Selective accuracy*: accuracy on these images.
"""
FILE_EVIDENCE = "**Evidence in the file,** which plays no part in P(FAKE)."
CSS = """
.prediction h2 { margin: 0 } .prediction p { margin: .2em 0 } .prediction ul { margin: 0; padding: 0; list-style: none }
.panel:has(.empty) { display: none }
.limits { overflow-x: auto } .limits table { min-width: 50rem; table-layout: auto; word-break: normal }
.limits td:first-child { white-space: nowrap }
"""


def status_html(title: str, below: str = "") -> str:
    """Return HTML that a screen reader announces when it changes."""
    return f'<div class="prediction" role="status" aria-live="polite"><h2>{html.escape(title)}</h2>{below}</div>'


def prediction_html(model: Detector, prediction: Prediction) -> str:
    """Return the prediction and its three checks, for eyes and screen readers."""
    reason = html.escape(f"{prediction.reason[0].upper()}{prediction.reason[1:]}. {prediction.frame}")
    title = f"Prediction: {prediction.label or ABSTAIN}"
    if prediction.pixels is None:
        return status_html(title, f"<p>{reason}</p>")
    p, threshold = prediction.probability, f"the threshold of {float(model.confidence_threshold):.1%}"
    confidence = f"P({CLASSES[p >= 0.5]}) is {max(p, 1 - p):.1%}"
    checks = [
        _check(prediction.confident, f"Confident: {confidence}, above {threshold}",
               f"Not confident: {confidence}, not above {threshold}"),
        _check(prediction.in_distribution, "In distribution: the image resembles the training images",
               "Out of distribution: the image differs from the training images"),
        _check(prediction.stable, "Stable: compressing, scaling or cropping the image slightly changes nothing",
               "Not stable: compressing, scaling or cropping the image slightly changes the prediction"),
    ]  # fmt: skip
    return status_html(title, f"<p>{reason}</p><ul>{''.join(checks)}</ul>")


def _check(passed: bool, yes: str, no: str) -> str:
    return f"<li>{'✓ ' + yes if passed else '✗ ' + no}</li>"


def limits(names: Iterable[str]) -> str:
    """Return the models' descriptions and limits, in Markdown."""
    models = "\n".join(f"- `{name}`: {RELEASED[name]}" for name in names if name in RELEASED)
    return f"**Models.**\n\n{models}\n{LIMITS}" if models else LIMITS


def results_by_source(name: str) -> str:
    """Return a model's results on unseen sources, with a definition of each metric. Empty without results."""
    table = source_limits(name)
    return f"{METRICS}\n{table}" if table else ""
