"""The Gradio app: a picture in, a verdict out. Launches nothing by itself."""

from collections.abc import Mapping
from pathlib import Path

import gradio as gr
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from detector import figures
from detector.cifake import CLASSES
from detector.pictures import MAX_BYTES, open_picture, to_cifake, to_rgb
from detector.prediction import answered, predict, predict_distance
from detector.progress import InputError, notebook_kernel, someone_watches

ABOUT = """
# Real, or made by an AI?

The picture's centre square is brought to 32×32 pixels, the only size that these models know, and judged.
They learnt from CIFAKE: small photographs of ten kinds of animals and vehicles, and pictures of the same by
Stable Diffusion 1.4. They say 'not sure' so often that of their answers on such pictures at most one in two hundred
should be wrong, and where a picture is unlike those that they know. That is not always noticed: **on other pictures
they can be badly wrong; a verdict is no proof.**
"""


def picture_of(pixels: torch.Tensor) -> Image.Image:
    """A stored picture, uint8 (3, H, W), as an image."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def judge(model: nn.Module, image: Image.Image) -> dict:
    """A model's verdict on any picture: prob P(FAKE), name, words, and `seen`, the uint8 (3, 32, 32) it judged.

    The name is a class, or 'not sure' where the model is not confident or the picture unlike what it knows.
    """
    seen = to_cifake(image)
    probs, distances = predict(model, seen[None]), predict_distance(model, seen[None])
    prob, what = float(probs), "made by an AI" if probs >= 0.5 else "a photograph"
    if answered(model, probs, distances):
        name, words = CLASSES[prob >= 0.5], f"{'almost certainly' if abs(prob - 0.5) >= 0.49 else 'probably'} {what}"
    elif distances <= model.largest_distance:
        name, words = "not sure", f"perhaps {what}"
    else:
        name, words = "not sure", f"unlike the pictures that this model knows; perhaps {what}"
    return {"prob": prob, "name": name, "words": words, "seen": seen}


def verdict_picture(model: nn.Module, image: Image.Image) -> Figure:
    """The verdict as the demo gives it, as a figure."""
    given = torch.from_numpy(np.array(to_rgb(image))).permute(2, 0, 1)
    verdict = judge(model, image)
    return figures.verdict(given, verdict["seen"], verdict)


def build_demo(models: Mapping[str, nn.Module], examples: list[Image.Image] = ()) -> gr.Blocks:
    """The app for some models by name; the first is the default. `examples` are pictures to click."""

    def answer(path: str | None, name: str) -> tuple[str, dict | None, Image.Image | None]:
        if path is None:
            return "", None, None
        try:
            verdict = judge(models[name], open_picture(Path(path).read_bytes()))
        except InputError as error:
            return f"### {error}", None, None
        except FileNotFoundError:
            return "### The picture was deleted meanwhile. Please drop it again.", None, None
        seen = picture_of(verdict["seen"]).resize((256, 256), Image.Resampling.NEAREST)
        share = {"FAKE": verdict["prob"], "REAL": 1 - verdict["prob"]}
        return f"## {verdict['name']}: {verdict['words']}", share, seen

    with gr.Blocks(title="Real, or made by an AI?", analytics_enabled=False, delete_cache=(600, 3600)) as app:
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(
                    type="filepath", sources=["upload", "clipboard"], label="Your picture", height=280, format="png"
                )
                # The file as it came: Gradio would flatten 16 bits, and answer what is no picture with its own error
                picture.preprocess = lambda payload: payload.path if payload else None
                choice = gr.Radio(list(models), value=next(iter(models)), label="Model")
            with gr.Column():
                words = gr.Markdown(label="Verdict")
                share = gr.Label(label="Probability", num_top_classes=2)
                seen = gr.Image(label="What the model sees, 32×32 pixels", interactive=False, height=200, format="png")
        if examples:
            gr.Examples([[example] for example in examples], [picture], label="Examples from the test folder")
        changes = [picture.change, choice.change]
        gr.on(changes, answer, [picture, choice], [words, share, seen], api_name="predict", show_progress="minimal")
    return app


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
    } | options
    app.launch(inline=notebook_kernel() is not None, **settings)
    _running.append(app)


def close_demo() -> None:
    """Close what `launch_demo` serves."""
    while _running:
        _running.pop().close(verbose=False)
