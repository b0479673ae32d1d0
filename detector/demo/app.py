"""The Gradio app. Importing this module, or building the app, starts nothing."""

import atexit
import math
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import gradio as gr
import pandas as pd
from gradio.utils import get_upload_folder
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from PIL import Image

from detector.core.console import UserError, is_interactive, notebook_kernel
from detector.data.decode import MAX_BYTES, decode_image, read_file
from detector.demo.panels import evidence_panels, to_pil
from detector.demo.texts import (
    ABOUT,
    CSS,
    FILE_EVIDENCE,
    TITLE,
    limits,
    prediction_html,
    results_by_source,
    status_html,
)
from detector.inference.choice import AUTOMATIC, choose_model
from detector.inference.decision import first_prediction
from detector.inference.files import predict_files, write_predictions
from detector.inference.native import check_stability
from detector.inference.prediction import Prediction
from detector.models.base import Detector
from detector.provenance import evidence_text, find_evidence

MAX_FILES = 500
COLUMNS = {"file": 180, "label": 90, "P(FAKE)": 90, "reason": 300, "evidence": 200, "model": 120}  # widths, pixels
ONE_AT_A_TIME = {"concurrency_id": "model", "concurrency_limit": 1, "show_progress": "minimal"}  # one uses all cores
INTERNAL = {"show_progress": "hidden", "api_visibility": "private"}
NO_PANELS = (None, "") * 2
NO_ANSWER = (status_html(""), None, None, *NO_PANELS, "")
UPLOADS_DELETED = (600, 3600)  # seconds: how often old uploads are deleted, and how old they are
FOLDER_PREFIX = "detector-"
NO_TABLE = (pd.DataFrame(columns=list(COLUMNS)), gr.update(value=None, interactive=False), status_html(""))


class _App(gr.Blocks):
    """An app that refuses a URL sent in place of an upload, which Gradio would fetch on behalf of the sender."""

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        traverse(inputs, _refuse_url, is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


def _refuse_url(file: Mapping) -> Mapping:
    if is_http_url_like(file["path"]):
        raise gr.Error("URLs are not fetched. Send the image itself.")
    return file


def launch_demo(models: Mapping[str, Detector], examples: Sequence[Image.Image] = (), **options) -> gr.Blocks:
    """Build the app and serve it on this computer, inline in an interactive notebook. Return the app.

    A rerun closes the earlier app, and every other Gradio app of this process. A notebook that is executed without a
    person serves nothing: its saved page would hold a dead frame.

    Gradio reads its upload folder from the environment at each request. So this function sets GRADIO_TEMP_DIR for the
    whole process: to a new private folder, inside the one that the variable names, if any. Old uploads are deleted from
    it, and the folder itself when the process ends.

    Args:
        models: The models, by name. `inference.choice` picks one for each image, unless a person chooses.
        examples: Images to try.
        options: Arguments of Gradio's `launch`, such as `share=True` for a public link.
    """
    gr.close_all(verbose=False)
    folder = _new_upload_folder()
    app, in_notebook = build_demo(models, examples), notebook_kernel() is not None
    # Gradio's own deletion (`delete_cache`) ends for ever when an upload arrives while it lists the files
    kept = set(folder.rglob("*"))  # the examples
    threading.Thread(target=_delete_old_uploads, args=(folder, kept, *UPLOADS_DELETED), daemon=True).start()
    if not in_notebook or is_interactive():
        serving = {"inline": in_notebook, "share": False, "prevent_thread_lock": True, "max_file_size": 2 * MAX_BYTES}
        showing = {"quiet": True, "run_history": False, "theme": gr.themes.Soft(), "css": CSS}
        app.launch(**serving | showing | options)
    return app


def _new_upload_folder() -> Path:
    """Return a new private folder and set GRADIO_TEMP_DIR to it. An earlier app's folder is replaced, not nested."""
    named = os.environ.get("GRADIO_TEMP_DIR")
    inside = Path(named).parent if named and Path(named).name.startswith(FOLDER_PREFIX) else named
    if inside:
        Path(inside).mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=inside)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = folder
    return Path(folder)


def _delete_old_uploads(folder: Path, kept: set[Path], interval: float, age: float) -> None:
    """Delete files that are older than `age`, every `interval` seconds, as long as the folder is there."""
    while folder.exists():
        time.sleep(interval)
        found = set()
        with suppress(OSError):  # a folder was deleted while it was listed: the next round lists the rest
            found.update(folder.rglob("*"))
        for path in found - kept:
            with suppress(OSError):  # another one deleted it
                if path.is_file() and time.time() - path.stat().st_mtime > age:
                    path.unlink()


def build_demo(models: Mapping[str, Detector], examples: Sequence[Image.Image] = ()) -> gr.Blocks:
    """Build the app without serving it. `models` and `examples` are those of `launch_demo`."""
    with _App(title=TITLE, analytics_enabled=False) as app:
        gr.Markdown(ABOUT)
        choice = gr.Radio([AUTOMATIC, *models], value=AUTOMATIC, label="Model", render=False)
        with gr.Tab("One image"):
            _one_image(models, choice, examples)
        with gr.Tab("Many images"):
            _many_images(models, choice)
        with gr.Tab("Limits"):
            gr.Markdown(limits(models))
            gr.Markdown(results_by_source(models), elem_classes="limits")
        with gr.Accordion("Advanced: choose the model", open=False):
            choice.render()
    return app.queue(max_size=20, api_open=False)


def _one_image(models: Mapping[str, Detector], choice: gr.Radio, examples: Sequence[Image.Image]) -> None:
    """Add the tab of one image: the prediction first, its evidence afterwards."""
    shown = {"interactive": False, "buttons": ["fullscreen"]}
    view, sources = "Model input: the image at 32×32 pixels", ["upload", "clipboard"]
    with gr.Row():
        with gr.Column():
            image = gr.Image(type="filepath", sources=sources, label="Your image", height=280, format="png")
            if examples:
                gr.Examples([[example] for example in examples], [image], label="Example images")
        with gr.Column():
            status = gr.HTML(status_html(""), label="Prediction")
            probability = gr.Label(label="P(FAKE) and P(REAL)", show_heading=False)
            model_input = gr.Image(alt_text=view, label=view, height=200, elem_classes="panel", **shown)
    panels, hidden = [], {"show_label": False, "elem_classes": "panel"}  # the caption takes the label's place
    with gr.Row():
        for label in ("Evidence by place", "Evidence by level of detail"):
            with gr.Column(min_width=240):
                caption = gr.Markdown()
                panels += [gr.Image(alt_text=label, label=label, **hidden, **shown), caption]
    outputs = [status, probability, model_input, *panels, gr.Markdown()]
    changes = [image.change, choice.change]
    # The answer is removed at once, so that it never stands beside another image or another model's name
    cleared = gr.on(changes, lambda: NO_ANSWER, None, outputs, queue=False, **INTERNAL)
    # preprocess=False: Gradio would reduce 16-bit images, and reject other files with a message of its own
    request = cleared.then(
        _answer(models), [image, choice], outputs, api_name="predict", preprocess=False, **ONE_AT_A_TIME
    )
    gr.on(changes, None, cancels=[request], **INTERNAL)


def _answer(models: Mapping[str, Detector]) -> Callable:
    def answer(upload: dict | None, name: str) -> Iterator[tuple]:
        """Predict one image: status, probabilities, model input, two captioned panels, evidence in the file."""
        if upload is None:
            yield NO_ANSWER
            return
        try:
            data = read_file(_uploaded_path(upload))
            image = decode_image(data)
            name, choice = choose_model(models, image, name)
            model = models[name]
            prediction = first_prediction(model, image)
        except UserError as error:
            yield status_html(str(error)), *NO_ANSWER[1:]
            return
        in_file = f"{FILE_EVIDENCE}\n\n{evidence_text(find_evidence(data))}"
        if math.isnan(prediction.probability):
            yield prediction_html(model, prediction, choice), None, None, *NO_PANELS, in_file
            return
        shown = ({"FAKE": prediction.probability, "REAL": 1 - prediction.probability}, _model_input(prediction))
        yield prediction_html(model, prediction, choice), *shown, *NO_PANELS, in_file
        prediction = check_stability(model, prediction)
        panels = chain.from_iterable(evidence_panels(model, prediction))
        yield prediction_html(model, prediction, choice), *shown, *panels, in_file

    return answer


def _model_input(prediction: Prediction) -> Image.Image | None:
    """Return the image as a model for 32×32 pixels scores it, enlarged; None for crops, which have a panel."""
    if prediction.pixels is None:
        return None
    return to_pil(prediction.pixels[0]).resize((256, 256), Image.Resampling.NEAREST)


def _many_images(models: Mapping[str, Detector], choice: gr.Radio) -> None:
    """Add the tab of many images: a table and its CSV file."""
    files = gr.File(file_count="multiple", label=f"Up to {MAX_FILES} images", height=240)
    start = gr.Button("Predict", variant="primary")
    summary = gr.HTML(status_html(""), label="Summary")
    shape = {"headers": list(COLUMNS), "column_widths": list(COLUMNS.values()), "wrap": True}
    table = gr.Dataframe(**shape, interactive=False, label="Table", show_search="filter")
    download = gr.DownloadButton("Download the table (CSV)", interactive=False)
    inputs, outputs = [files, choice], [table, download, summary]
    start.click(_answer_many(models), inputs, outputs, api_name="predict_many", preprocess=False, **ONE_AT_A_TIME)
    gr.on([files.change, choice.change], lambda: NO_TABLE, None, outputs, queue=False, **INTERNAL)


def _answer_many(models: Mapping[str, Detector]) -> Callable:
    def answer(
        uploads: list[dict] | None,
        name: str,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio finds it by its default
    ) -> tuple[pd.DataFrame, dict, str]:
        """Predict up to 500 images: a table, its CSV file, a summary (HTML)."""
        try:
            if not uploads or len(uploads) > MAX_FILES:
                raise UserError(f"Please upload 1 to {MAX_FILES} images.")
            if name not in (AUTOMATIC, *models):
                raise UserError(f"No model has the name {name!r}.")
            paths = [_uploaded_path(upload) for upload in uploads]
        except UserError as error:
            return *NO_TABLE[:2], status_html(str(error))
        rows = list(bar.tqdm(predict_files(models, paths, name), total=len(paths), desc="predicting", unit="images"))
        table = pd.DataFrame(rows).rename(columns={"probability": "P(FAKE)"})
        table = table.assign(file=[path.name for path in paths])[list(COLUMNS)]
        csv = Path(get_upload_folder(), f"predictions-{uuid.uuid4().hex[:8]}.csv")
        write_predictions(table, csv)
        counts = ", ".join(f"{count} {label}" for label, count in table["label"].value_counts().items())
        summary = status_html(f"Predictions: {counts}")
        return table.round({"P(FAKE)": 4}), gr.update(value=str(csv), interactive=True), summary

    return answer


def _uploaded_path(upload: Mapping) -> Path:
    """Return the path of an upload. Gradio does not check that it is one; a path elsewhere raises UserError."""
    path = Path(upload.get("path") or "").resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise UserError("The uploaded image is no longer there. Please upload it again.")
    return path
