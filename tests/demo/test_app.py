"""The demo as a program uses it: requests, refused uploads, launch and texts."""

import os
import shutil
import threading
import time
from pathlib import Path

import httpx
import pandas as pd
import pytest
from gradio import processing_utils
from gradio_client import Client, handle_file
from jupyter_client.manager import start_new_kernel
from PIL import Image

from detector.core import files
from detector.demo import app, launch_demo, texts
from detector.demo.app import build_demo
from detector.models.cnn import CNN


@pytest.fixture(scope="module")
def client():
    """A client of the served app. The model 'real' always predicts REAL; 'fake' always predicts FAKE."""
    models = {name: CNN(widths=(16, 16), stem=16).eval() for name in ("real", "fake")}
    for model, bias in zip(models.values(), (-20.0, 20.0), strict=True):
        model.head.bias.data.fill_(bias)
    served = launch_demo(models)
    yield Client(served.local_url, verbose=False)
    served.close(verbose=False)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.effect_noise((64, 64), 50).save(path)
    return path


def ask(client: Client, path, model: str | None) -> list[tuple]:
    """Return every output of a request for one image."""
    job = client.submit(handle_file(path), model, api_name="/predict")
    job.result()
    return job.outputs()


def test_the_answer_comes_first_and_the_panels_follow(client, image):
    first, last = ask(client, image, "fake")
    assert first[:2] == last[:2]
    assert first[0].count("✓") == 3 and "Prediction: FAKE" in first[0] and "Almost certainly" in first[0]
    assert first[1]["label"] == "FAKE" and Image.open(first[2]).size == (256, 256)
    assert first[3:7] == (None, "") * 2
    assert first[7] == last[7] and "C2PA manifest:** none found" in last[7]
    for panel in last[3:7:2]:
        assert min(Image.open(panel).size) > 200
    assert "Evidence by place" in last[4] and "level of detail" in last[6]


def test_each_model_gives_its_own_answer(client, image):
    _, (status, probability, *_) = ask(client, image, "real")
    assert "Prediction: REAL" in status and probability["label"] == "REAL"


def test_a_request_opens_and_predicts_once(client, image, monkeypatch):
    calls = []

    def counted(function):
        return lambda *arguments: (calls.append(function.__name__), function(*arguments))[1]

    for name in ("read_file", "decode_image", "first_prediction"):
        monkeypatch.setattr(app, name, counted(getattr(app, name)))
    assert len(ask(client, image, "fake")) == 2
    assert calls == ["read_file", "decode_image", "first_prediction"]


def test_many_images_become_a_table_and_a_file(client, tmp_path):
    """One of the files is not an image. The table and its file agree."""
    for row in range(3):
        Image.effect_noise((64, 64), 50 + row).save(tmp_path / f"{row}.png")
    (tmp_path / "3.png").write_text("no image")
    uploads = [handle_file(tmp_path / f"{row}.png") for row in range(4)]
    table, path, summary = client.predict(uploads, "fake", api_name="/predict_many")
    saved = pd.read_csv(path["value"] if isinstance(path, dict) else path)
    assert saved.columns.tolist() == table["headers"] == ["file", "label", "P(FAKE)", "reason", "evidence", "model"]
    assert saved["file"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert saved["label"].tolist() == ["FAKE"] * 3 + ["error"]
    assert [row[:2] for row in table["data"]] == saved[["file", "label"]].to_numpy().tolist()
    assert "3 FAKE" in summary and "1 error" in summary


def test_no_images_and_too_many_are_refused(client, monkeypatch, image):
    monkeypatch.setattr(app, "MAX_FILES", 1)
    for uploads in ([], [handle_file(image)] * 2):
        *_, summary = client.predict(uploads, "fake", api_name="/predict_many")
        assert "Please upload 1 to 1 images" in summary


def test_a_file_that_is_no_image_gives_a_message(client, image):
    image.write_bytes(b"no image")
    ((status, probability, *_),) = ask(client, image, "real")
    assert "not an image" in status and not probability


def test_an_unknown_model_gives_a_message(client, image):
    ((status, *_),) = ask(client, image, None)
    assert "No model has the name" in status and "real, fake" in status


@pytest.mark.parametrize("function", ["predict", "predict_many"])
def test_a_path_outside_the_upload_folder_is_refused(client, image, function):
    """A program can send a path without Gradio's mark of an upload; the answer reveals nothing about the file."""
    answer = post(client, function, {"path": str(image)})
    assert "certainly" not in answer
    assert "no longer there" in answer or function == "predict_many"  # there Gradio itself asks for the mark


@pytest.mark.parametrize("function", ["predict", "predict_many"])
@pytest.mark.parametrize("key", ["path", "url"])
def test_no_url_is_fetched(client, monkeypatch, function, key):
    """A URL in place of an upload may point into the network of the computer that serves the demo."""
    fetched = []

    async def fetch(url: str, *_arguments, **_options) -> str:
        fetched.append(url)
        raise ValueError

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    upload = {"path": "x.png", key: "http://192.0.2.1/x.png", "meta": {"_type": "gradio.FileData"}}
    assert "certainly" not in post(client, function, upload)
    assert not fetched


def post(client: Client, function: str, upload: dict) -> str:
    """Return the raw answer to an upload as a program may send it."""
    url = f"{client.src}gradio_api/call/{function}"
    data = [[upload] if function == "predict_many" else upload, "fake"]
    event = httpx.post(url, json={"data": data}).json()["event_id"]
    return httpx.get(f"{url}/{event}").text


def test_a_rerun_closes_the_earlier_app(small_cnn):
    first = launch_demo({"model": small_cnn})
    second = launch_demo({"model": small_cnn})
    assert not first.is_running and second.is_running
    second.close(verbose=False)


@pytest.mark.parametrize("configured", [False, True])
def test_launching_sets_a_private_upload_folder(small_cnn, monkeypatch, tmp_path, configured):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "mine"))  # restored after the test
    if not configured:
        monkeypatch.delenv("GRADIO_TEMP_DIR")
        build_demo({"model": small_cnn})
        assert "GRADIO_TEMP_DIR" not in os.environ
    folders = []
    for _ in range(2):
        launch_demo({"model": small_cnn}).close(verbose=False)
        folders.append(Path(os.environ["GRADIO_TEMP_DIR"]))
    assert len({*folders}) == 2 and len({folder.parent for folder in folders}) == 1
    assert (folders[0].parent == tmp_path / "mine") == configured
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in folders)


def test_old_uploads_are_deleted_and_examples_stay(tmp_path):
    names = ("example.png", "below/old.png", "new.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in names[:2]:
        os.utime(tmp_path / name, (0, 0))
    arguments = (tmp_path, {tmp_path / "example.png"}, 0.05, 60)
    thread = threading.Thread(target=app._delete_old_uploads, args=arguments)
    thread.start()
    for _ in range(100):
        time.sleep(0.05)
        if not (tmp_path / "below/old.png").exists():
            break
    assert [(tmp_path / name).exists() for name in names] == [True, False, True]
    shutil.rmtree(tmp_path)  # ends the thread
    thread.join(timeout=10)
    assert not thread.is_alive()


CELL = """
from detector.demo import launch_demo
from detector.models.cnn import CNN
print(launch_demo({"model": CNN()}).local_url)
"""


@pytest.fixture
def run_cell():
    """A function that runs CELL in a new kernel and returns the content of its messages."""
    manager, kernel = start_new_kernel(cwd=str(files.ROOT), kernel_name="python3")

    def run(*, interactive: bool) -> list[dict]:
        messages = []
        kernel.execute_interactive(CELL, allow_stdin=interactive, output_hook=messages.append, timeout=120)
        return [message["content"] for message in messages]

    yield run
    kernel.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_notebook_shows_the_app_inline_and_goes_on(run_cell):
    """Unless nobody uses the notebook: then nothing is served."""
    outputs = run_cell(interactive=True)
    assert any("iframe" in str(output.get("data")) for output in outputs)
    (url,) = [output["text"].strip() for output in outputs if output.get("name") == "stdout"]
    assert httpx.get(url).status_code == 200
    assert "iframe" not in str(run_cell(interactive=False))


def test_the_limits_show_results_of_the_model_where_there_are_any(small_cnn, monkeypatch):
    monkeypatch.setattr(texts, "source_limits", lambda name: "| source |" if name == "transfer" else "")

    def shown(name: str) -> str:
        built = build_demo({name: small_cnn})
        return "".join(c["props"].get("value") or "" for c in built.config["components"] if c["type"] == "markdown")

    assert "A prediction is not proof" in shown("another")
    assert "| source |" in shown("transfer") and "`transfer`: " in shown("transfer")
    assert "| source |" not in shown("another")
