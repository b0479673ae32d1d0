"""The Gradio app: a picture in, a verdict out, then what it rests on; and many pictures at once.

Launches nothing when imported.
"""

import functools
import html
import os
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import gradio as gr
import numpy as np
import pandas as pd
import torch
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like
from matplotlib.figure import Figure
from PIL import Image

from detector import figures
from detector.card import limits_of
from detector.models import Detector
from detector.pictures import MAX_BYTES, open_file, to_rgb
from detector.progress import InputError, notebook_kernel, someone_watches
from detector.readings import explain, explain_parts
from detector.verdicts import judge, judge_files, views_of, write_verdicts
from detector.weights import DEFAULT_MODEL, SHIPPED

MOST = 500  # pictures at once
ABOUT = """
# Real, or made by an AI?

Drop a picture. Its centre square is brought to 32×32 pixels, the only size that these models know, and judged. Where it
has 64 pixels or more, `wild` judges nine parts of it as well, at twice the detail, which count as much as the whole.
**A verdict is no proof.**
"""
LIMITS = """
**What the models learnt.** CIFAKE: small photographs of ten kinds of animals and vehicles, and pictures of the same by
one generator, Stable Diffusion 1.4. `wild` alone learnt more: photographs of two hundred kinds of things, other
pictures by the same generator, and what nine small networks drew that were taught for it.

**When they say 'not sure'.** Where the picture is unlike those that they know; where they are not confident, so that of
their answers on pictures like CIFAKE's, which have no parts, at most one in two hundred should be wrong; and where
saving the picture as a JPEG, scaling it by a tenth or cutting off its edge turns the verdict.

**What they cannot do.** On photographs of other sources, and on pictures by other generators, they are often wrong or
not sure; pictures by generators that draw at this size mostly pass for photographs, with confidence. Below is how
often, by pictures without parts. At 32 pixels most traces of a large picture's making are gone; its nine parts, which
`wild` looks at, keep a few more.

**Where it stays.** Pictures are judged on the machine that serves this page, and kept there for about an hour. Through
a public link they also pass through the servers of Gradio, which makes it.
"""
DELETED = "The picture is not there any more. Please drop it again."
COLUMNS = {"file": "file", "verdict": "verdict", "prob": "P(FAKE)", "words": "in words", "model": "model"}
NO_REASONS = (None, "") * 3  # in place of three figures and their readings
NO_TABLE, NO_FILE = pd.DataFrame(columns=list(COLUMNS.values())), gr.update(value=None, interactive=False)
ONE_AT_A_TIME = {"concurrency_id": "model", "concurrency_limit": 1, "show_progress": "minimal"}  # more would only wait
CSS = """
.verdict h2 { margin: 0 0 .3em 0 } .verdict ul { margin: .3em 0 0 1.2em; padding: 0 }
@media (max-width: 640px) { .verdict h2 { font-size: 1.2em } }
"""
VIEW = "The whole: 32×32 pixels"


def picture_of(pixels: torch.Tensor) -> Image.Image:
    """A stored picture, uint8 (3, H, W), as an image."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def verdict_picture(model: Detector, image: Image.Image) -> Figure:
    """The verdict as the demo gives it, as a figure."""
    given = torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    verdict = judge(model, image)
    return figures.verdict(given, verdict["views"][0], verdict)


def verdict_html(model: Detector, verdict: Mapping) -> str:
    """The verdict and the three conditions of its rule, for eyes and screen readers."""
    confidence, least = max(verdict["prob"], 1 - verdict["prob"]), float(model.least_confidence)
    rule = [
        (verdict["confident"], "confident", f"enough: {confidence:.1%}, where more than {least:.1%} is asked"),
        (verdict["like"], "like", "the pictures that it knows"),
        (verdict["steady"], "steady", "when the picture is saved as a JPEG, scaled, or cut a little"),
    ]
    items = "".join(f"<li>{'✓' if met else '✗ not'} {word} {rest}</li>" for met, word, rest in rule)
    return _status(f"{verdict['verdict']}: {verdict['words']}", f"<ul>{items}</ul>")


def _status(title: str, below: str = "") -> str:
    return f'<div class="verdict" role="status" aria-live="polite"><h2>{html.escape(title)}</h2>{below}</div>'


def _uploaded(given: dict | None) -> Path:
    """The path of what was dropped. Raises InputError if it is not among the files that Gradio took in.

    Gradio itself does not check the paths that a program sends in a picture's place.
    """
    path = Path((given or {}).get("path") or "").resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise InputError(DELETED)
    return path


def _take_no_addresses(component: gr.Image | gr.File) -> None:
    """Let a component refuse an address that a program sends in an upload's place: Gradio itself would fetch it."""
    move = component.async_move_resource_to_block_cache

    async def refuse(path: str | None) -> str | None:
        if is_http_url_like(path):
            raise gr.Error("No address is fetched: send the picture itself.")
        return await move(path)

    component.async_move_resource_to_block_cache = refuse


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory:
    """Where Gradio keeps what is dropped: no other user's, and gone when the process ends."""
    return tempfile.TemporaryDirectory(prefix="detector-")


def build_demo(models: Mapping[str, Detector], examples: Sequence[Image.Image] = ()) -> gr.Blocks:
    """The app for some models by name, DEFAULT_MODEL or the first to begin with. `examples` are pictures to click."""
    first = DEFAULT_MODEL if DEFAULT_MODEL in models else next(iter(models))
    os.environ.setdefault("GRADIO_TEMP_DIR", _own_folder().name)
    with gr.Blocks(title="Real, or made by an AI?", analytics_enabled=False, delete_cache=(600, 3600)) as app:
        gr.Markdown(ABOUT)
        choice = gr.Radio(list(models), value=first, label="Model")
        with gr.Tab("One picture"):
            _one_picture(models, choice, examples)
        with gr.Tab("Many pictures"):
            _many_pictures(models, choice)
        with gr.Tab("What it can and cannot do"):
            told = "; ".join(f"`{name}`: {SHIPPED[name]}" for name in models if name in SHIPPED)
            gr.Markdown(f"**The models.** {told}.\n{LIMITS}")
            limits, own = gr.Markdown(limits_of(first)), {"show_progress": "hidden", "api_visibility": "private"}
            choice.change(limits_of, choice, limits, queue=False, **own)
    return app.queue(max_size=20, api_open=False)


def _pick(models: Mapping[str, Detector], name: str) -> Detector:
    """The model of that name. Raises InputError if there is none."""
    if name not in models:
        raise InputError(f"There is no model of that name: choose {', '.join(models)}.")
    return models[name]


def _judging(models: Mapping[str, Detector]) -> tuple[Callable, Callable]:
    """What the tab of one picture asks: for a verdict, and for what it rests on."""

    def answer(given: dict | None, name: str) -> tuple[str, dict | None, Image.Image | None]:
        """The verdict of a model on a picture: HTML, the two probabilities, the 32x32 view."""
        if given is None:
            return _status(""), None, None
        try:
            model = _pick(models, name)
            verdict = judge(model, open_file(_uploaded(given)))
        except InputError as error:
            return _status(str(error)), None, None
        seen = picture_of(verdict["views"][0]).resize((256, 256), Image.Resampling.NEAREST)
        return verdict_html(model, verdict), {"FAKE": verdict["prob"], "REAL": 1 - verdict["prob"]}, seen

    def why(given: dict | None, name: str) -> tuple[Image.Image | str | None, ...]:
        """What the verdict of a model rests on: a map, bands of frequencies and its parts, each with a reading."""
        try:
            model, image = _pick(models, name), open_file(_uploaded(given))
        except InputError:  # told by the verdict already
            return NO_REASONS
        views = views_of(model, image)
        return *explain(model, views), *explain_parts(model, views[1:], image)

    return answer, why


def _one_picture(models: Mapping[str, Detector], choice: gr.Radio, examples: Sequence[Image.Image]) -> None:
    """The tab of one picture: the verdict first, what it rests on afterwards."""
    answer, why = _judging(models)
    nothing = (_status(""), None, None, *NO_REASONS)  # in place of a verdict and what it rests on, until they are there
    with gr.Row():
        with gr.Column():
            kinds = ["upload", "clipboard"]
            picture = gr.Image(type="filepath", sources=kinds, label="Your picture", height=280, format="png")
            _take_no_addresses(picture)
            if examples:
                gr.Examples([[example] for example in examples], [picture], label="Examples from the test folder")
        with gr.Column():
            words = gr.HTML(_status(""), label="Verdict")
            share = gr.Label(label="Probability", show_heading=False)
            seen = gr.Image(label=VIEW, alt_text=VIEW, interactive=False, height=200, buttons=["fullscreen"])
    with gr.Row():
        with gr.Column():
            map_words, map_ = gr.Markdown(), _figure("Where the verdict comes from")
        with gr.Column():
            bands_words, bands = gr.Markdown(), _figure("In which detail it lies")
        with gr.Column():
            parts_words, parts = gr.Markdown(), _figure("Its parts by themselves")
    given, shown = [picture, choice], [map_, map_words, bands, bands_words, parts, parts_words]
    changes = [picture.change, choice.change]
    judged = [words, share, seen]
    own = {"show_progress": "hidden", "api_visibility": "private"}
    cleared = gr.on(changes, lambda: nothing, None, [*judged, *shown], queue=False, **own)
    # The file as it came: Gradio would flatten 16 bits, and answer what is no picture with its own error
    first = cleared.then(answer, given, judged, api_name="predict", preprocess=False, **ONE_AT_A_TIME)
    second = first.then(why, given, shown, api_name="explain", preprocess=False, **ONE_AT_A_TIME)
    gr.on(changes, None, cancels=[first, second], **own)  # of another picture, or by another model


def _figure(label: str) -> gr.Image:
    """A place for a figure, which the text above it reads."""
    return gr.Image(label=label, alt_text=label, show_label=False, interactive=False, buttons=["fullscreen"])


def _many_pictures(models: Mapping[str, Detector], choice: gr.Radio) -> None:
    """The tab of many pictures: a table and its file."""

    def answer_many(
        given: list[dict] | None,
        name: str,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio passes it
    ) -> tuple[pd.DataFrame, dict, str]:
        """The verdicts of a model on up to 500 pictures: a table, its CSV file, a summary in HTML."""
        try:
            if not given or len(given) > MOST:
                raise InputError(f"Please drop 1 to {MOST} pictures.")
            model, paths = _pick(models, name), [_uploaded(file) for file in given]
        except InputError as error:
            return NO_TABLE, NO_FILE, _status(str(error))
        steps = bar.tqdm(judge_files(model, paths), total=len(paths), desc="judging", unit="pictures")
        rows = [{**row, "file": Path(row["file"]).name, "model": name} for row in steps]
        table = pd.DataFrame(rows)[list(COLUMNS)]
        path = Path(get_upload_folder(), f"verdicts-{uuid.uuid4().hex[:8]}.csv")
        write_verdicts(table, path)
        counts = table["verdict"].value_counts()
        told = f"By {name}: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}"
        shown = table.rename(columns=COLUMNS).round({COLUMNS["prob"]: 4})
        return shown, gr.update(value=str(path), interactive=True), _status(told)

    files = gr.File(file_count="multiple", label=f"Up to {MOST} pictures", height=240)
    _take_no_addresses(files)
    start = gr.Button("Judge them", variant="primary")
    summary = gr.HTML(_status(""), label="Summary")
    table = gr.Dataframe(headers=list(COLUMNS.values()), interactive=False, label="Verdicts", show_search="filter")
    download = gr.DownloadButton("Download the table (CSV)", interactive=False)
    shown = [table, download, summary]
    start.click(answer_many, [files, choice], shown, api_name="predict_many", preprocess=False, **ONE_AT_A_TIME)
    nothing = (NO_TABLE, NO_FILE, _status(""))  # no table of other pictures or of another model
    changes = [files.change, choice.change]
    gr.on(changes, lambda: nothing, None, shown, queue=False, show_progress="hidden", api_visibility="private")


_running: list[gr.Blocks] = []


def launch_demo(app: gr.Blocks, **options) -> None:
    """Serve the app on this machine, inline in a notebook that somebody watches; a rerun closes the old one.

    Where nobody watches (the report executed from the shell) nothing is served: a frame would be dead when read.
    `options` go to Gradio's `launch`, such as share=True for a public link.
    """
    close_demo()
    if notebook_kernel() and not someone_watches():
        return
    settings = {
        "share": False,
        "quiet": True,
        "run_history": False,
        "prevent_thread_lock": True,
        "max_file_size": 2 * MAX_BYTES,
        "theme": gr.themes.Soft(),
        "css": CSS,
    } | options
    app.launch(inline=notebook_kernel() is not None, **settings)
    _running.append(app)


def close_demo() -> None:
    """Close what `launch_demo` serves."""
    while _running:
        _running.pop().close(verbose=False)
