"""The demo's words: introduction, limits, and the HTML of a prediction."""

import html
import math
from collections.abc import Iterable

from detector.core.labels import CLASSES, SIDE
from detector.data.scorable import NATIVE_SIDE
from detector.inference.prediction import ABSTAIN, Prediction
from detector.models.base import Detector
from detector.models.native import Native
from detector.models.weights import NATIVE_RELEASED, RELEASED
from detector.report.model_card import source_limits

TITLE = "Real or AI-generated?"
ABOUT = f"""
# {TITLE}

Upload an image. The model predicts REAL (a photo) or FAKE (AI-generated), and P(FAKE), the probability that the image
is FAKE. Bars and borders around the image are removed. The model scores crops of the image at its own resolution.
**A prediction is not proof.**
"""
LIMITS = f"""
**Which model.** An image with a short side of {NATIVE_SIDE} pixels or more gets the model `native`. It scores crops of
224×224 pixels. A smaller image gets `transfer`, which is trained on CIFAKE's images of 32×32 pixels and predicts only
where an image resembles them. Under {SIDE} pixels, or where an image shows a single colour, there is no prediction.

**REAL and FAKE.** REAL is a photo as a camera or phone makes it, with the phone's own processing: night mode, portrait
blur, retouching by hand, a scan, a print or a screen photographed. FAKE is an image whose content a generator made, in
whole or in a visible region. Between them: a photo enlarged by AI, or with a background replaced by AI, counts as FAKE
where generated pixels cover most of it. The model was trained on no image of these kinds, so its answer is a guess.

**Abstention.** A model abstains ('{ABSTAIN}') if the image differs from the training images, if P(FAKE) is between its
two limits or the crops disagree, or if a small change (JPEG compression, resizing, cropping) changes the prediction.
Drawings, text, charts and screenshots get no prediction.

**Errors to expect.** `native` misses about four of ten generated images, and nearly all faces by older GANs such as
StyleGAN2. It takes some professional photos with strong editing for FAKE. The model card lists the rates by source.
`transfer` is often wrong on images that do not come from CIFAKE.

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


def prediction_html(model: Detector, prediction: Prediction, choice: str) -> str:
    """Return the prediction, its checks and the choice of the model, for eyes and screen readers."""
    reason = html.escape(f"{prediction.reason[0].upper()}{prediction.reason[1:]}. {prediction.frame}")
    title = f"Prediction: {prediction.label or ABSTAIN}"
    if math.isnan(prediction.ood_score):
        return status_html(title, f"<p>{reason}</p><p>{html.escape(choice)}</p>")
    p, stable = prediction.probability, "compressing, scaling or cropping the image slightly changes"
    if isinstance(model, Native):
        low, high = model.limits.tolist()
        confidence = f"P(FAKE) is {p:.1%} (FAKE from {high:.0%}, REAL up to {low:.0%}, and most crops on that side)"
    else:
        confidence = f"P({CLASSES[p >= 0.5]}) is {max(p, 1 - p):.1%} ({model.confidence_threshold.item():.1%} needed)"
    checks = [
        _check(prediction.confident, f"Confident: {confidence}", f"Not confident: {confidence}"),
        _check(prediction.in_distribution, "In distribution: the image resembles the training images",
               "Out of distribution: the image differs from the training images"),
        _check(prediction.stable, f"Stable: {stable} nothing", f"Not stable: {stable} the prediction"),
    ]  # fmt: skip
    return status_html(title, f"<p>{reason}</p><ul>{''.join(checks)}</ul><p>{html.escape(choice)}</p>")


def _check(passed: bool | None, yes: str, no: str) -> str:
    """Return one line of the list; a check that is still running (None) says so."""
    return "<li>… checking stability</li>" if passed is None else f"<li>{'✓ ' + yes if passed else '✗ ' + no}</li>"


def limits(names: Iterable[str]) -> str:
    """Return the models' descriptions and limits, in Markdown."""
    described = NATIVE_RELEASED | RELEASED
    models = "\n".join(f"- `{name}`: {described[name]}" for name in names if name in described)
    return f"**Models.**\n\n{models}\n{LIMITS}" if models else LIMITS


def results_by_source(names: Iterable[str]) -> str:
    """Return the models' results on unseen sources, with a definition of each metric. Empty without results."""
    tables = [table for name in names if (table := source_limits(name))]
    return "\n\n".join([METRICS, *tables]) if tables else ""
