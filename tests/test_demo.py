"""The demo as a client meets it, and the files that people drop on it."""

import httpx
import pandas as pd
import pytest
import torch
from gradio import processing_utils
from gradio_client import Client, handle_file
from PIL import Image

from detector import demo, readings
from detector.demo import build_demo
from detector.explanation import one_view
from detector.models import CNN
from detector.pictures import to_views
from detector.prediction import predict, predict_logits
from detector.weights import DEFAULT_MODEL


@pytest.fixture
def client(small_cnn):
    always = [type(small_cnn)(**small_cnn.config).eval() for _ in range(2)]
    for model, bias in zip(always, (-20.0, 20.0), strict=True):
        model.head.bias.data.fill_(bias)
    always[1].parts = True
    app = build_demo({"says real": always[0], "says fake": always[1]})
    demo.launch_demo(app)
    yield Client(app.local_url, verbose=False)
    demo.close_demo()


def test_the_served_demo_answers_by_model(client, tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((64, 64), 50).save(path)
    for model, name in (("says real", "REAL"), ("says fake", "FAKE")):
        words, share, _ = client.predict(handle_file(path), model, api_name="/predict")
        assert name in words
        assert share["label"] == name


def test_the_served_demo_tells_what_a_verdict_rests_on(client, tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((64, 64), 50).save(path)
    map_, where, bands, detail, parts, by_part = client.predict(handle_file(path), "says fake", api_name="/explain")
    assert "most comes from the" in where and "In which detail" in detail and "P(FAKE) 100%" in by_part
    for figure in (map_, bands, parts):
        assert min(Image.open(figure).size) > 200


def test_a_small_picture_has_no_parts(client, tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((63, 200), 50).save(path)
    map_, *_, parts, by_part = client.predict(handle_file(path), "says fake", api_name="/explain")
    assert map_
    assert (parts, by_part) == (None, "")


def test_a_model_that_does_not_look_at_parts_shows_none(client, tmp_path):
    path = tmp_path / "picture.png"
    Image.effect_noise((64, 64), 50).save(path)
    *_, parts, by_part = client.predict(handle_file(path), "says real", api_name="/explain")
    assert (parts, by_part) == (None, "")


def test_the_part_that_looks_most_made_is_named(small_cnn, monkeypatch):
    probs = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.97, 0.6, 0.05, 0.7])
    monkeypatch.setattr(readings, "predict", lambda _model, parts: probs if len(parts) == 9 else None)
    picture = Image.effect_noise((64, 64), 50)
    _, words = readings.explain_parts(small_cnn, to_views(picture)[1:], picture)
    assert "the most FAKE is the right, with P(FAKE) 97%, the least has 5%" in words


def test_the_served_demo_judges_many(client, tmp_path):
    """More than one, of which one is no picture; the table and its file say the same."""
    for row in range(3):
        Image.effect_noise((64, 64), 50 + row).save(tmp_path / f"{row}.png")
    (tmp_path / "3.png").write_text("no picture")
    files = [handle_file(tmp_path / f"{row}.png") for row in range(4)]
    table, path, summary = client.predict(files, "says fake", api_name="/predict_many")
    kept = pd.read_csv(path["value"] if isinstance(path, dict) else path)
    assert kept["file"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert kept["verdict"].tolist() == ["FAKE"] * 3 + ["error"]
    assert [row[:2] for row in table["data"]] == kept[["file", "verdict"]].to_numpy().tolist()
    assert "3 FAKE" in summary and "1 error" in summary


def test_none_and_too_many_are_told(client, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "MOST", 1)
    Image.effect_noise((64, 64), 50).save(tmp_path / "picture.png")
    for files in ([], [handle_file(tmp_path / "picture.png")] * 2):
        _, _, summary = client.predict(files, "says fake", api_name="/predict_many")
        assert "Please drop" in summary


def test_the_served_demo_explains_a_bad_file(client, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"not a picture")
    words, share, _ = client.predict(handle_file(path), "says real", api_name="/predict")
    assert "not a picture" in words
    assert not share


@pytest.mark.parametrize("function", ["predict", "explain"])
def test_no_path_outside_is_read(client, tmp_path, function):
    """A program that sends a path in place of an upload, without Gradio's own mark, learns nothing of the file."""
    path = tmp_path / "secret.png"
    Image.effect_noise((64, 64), 50).save(path)
    url = f"{client.src}gradio_api/call/{function}"
    event = httpx.post(url, json={"data": [{"path": str(path)}, "says fake"]}).json()["event_id"]
    told = httpx.get(f"{url}/{event}").text
    assert "FAKE" not in told
    assert "not there any more" in told or function == "explain"


@pytest.mark.parametrize("function", ["predict", "explain", "predict_many"])
@pytest.mark.parametrize("key", ["path", "url"])
def test_no_address_is_fetched(client, monkeypatch, function, key):
    """What a program sends in place of an upload may be an address inside the network of whoever serves the demo."""
    asked = []

    async def fetch(address: str, *_given, **_named) -> str:
        asked.append(address)
        raise ValueError("not here")

    monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
    given = {"path": "x.png", key: "http://192.0.2.1/x.png", "meta": {"_type": "gradio.FileData"}}
    url = f"{client.src}gradio_api/call/{function}"
    data = [[given] if function == "predict_many" else given, "says fake"]
    event = httpx.post(url, json={"data": data}).json()["event_id"]
    told = httpx.get(f"{url}/{event}").text
    assert "FAKE" not in told
    assert not asked


def test_another_models_name_is_told(client, tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "picture.png")
    words, _, _ = client.predict(handle_file(tmp_path / "picture.png"), None, api_name="/predict")
    assert "no model of that name" in words


def test_what_is_explained_is_the_side_that_is_shown(standin):
    """Of the mean with the mirror image, not of the picture alone: where the two differ red would mean the opposite."""
    torch.manual_seed(0)
    model = CNN(widths=(16, 16), stem=16, mirror=True).eval()
    model.head.weight.data *= 100
    pixels = standin.test.pixels[:200]
    model.head.bias.data -= predict_logits(model, pixels).median()
    differs = (predict(model, pixels) >= 0.5) != (predict(one_view(model), pixels) >= 0.5)
    assert differs.any()
    picture = pixels[differs][0]
    side = "FAKE" if predict(model, picture[None]) >= 0.5 else "REAL"
    _, where, _, _ = readings.explain(model, picture[None])
    assert f"Red speaks for {side}" in where
    _, where, _, _ = readings.explain(model, picture.expand(10, -1, -1, -1))
    assert f"Of the whole by itself, which looks {side}: red speaks for {side}" in where


def test_a_rerun_closes_the_old_one(small_cnn):
    first, second = build_demo({"model": small_cnn}), build_demo({"model": small_cnn})
    demo.launch_demo(first)
    demo.launch_demo(second)
    assert not first.is_running
    assert second.is_running
    demo.close_demo()
    assert not second.is_running


def test_verdict_picture_shows_the_view(small_cnn):
    figure = demo.verdict_picture(small_cnn, demo.picture_of(torch.zeros(3, 32, 32, dtype=torch.uint8)))
    assert "P(FAKE)" in figure.axes[2].get_title()


def test_what_it_cannot_do_stands_there_in_figures_where_they_are_on_record(small_cnn):
    def texts(name: str) -> str:
        app = build_demo({name: small_cnn})
        return "".join(c["props"].get("value") or "" for c in app.config["components"] if c["type"] == "markdown")

    assert f"`{DEFAULT_MODEL}`,** with 95% intervals" in texts(DEFAULT_MODEL)
    assert "REAL/tiny_imagenet" in texts(DEFAULT_MODEL)
    assert "REAL/tiny_imagenet" not in texts("of their own")
