"""The demo as a client meets it, and the files that people drop on it."""

import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image

from detector import demo
from detector.demo import build_demo, judge
from detector.prediction import predict


def test_verdict_says_what_the_model_says(small_cnn):
    names = set()
    for bias in (-20.0, 20.0):
        small_cnn.head.bias.data.fill_(bias)
        verdict = judge(small_cnn, Image.effect_noise((64, 64), 50))
        assert verdict["prob"] == float(predict(small_cnn, verdict["seen"][None])[0])
        assert verdict["name"] == ("FAKE" if verdict["prob"] >= 0.5 else "REAL")
        names.add(verdict["name"])
    assert names == {"REAL", "FAKE"}


def test_it_says_so_where_it_is_not_sure(small_cnn):
    picture = Image.effect_noise((64, 64), 50)
    confidence = abs(judge(small_cnn, picture)["prob"] - 0.5) + 0.5
    for least, sure in ((confidence - 1e-4, True), (confidence + 1e-4, False)):
        small_cnn.least_confidence.fill_(least)
        verdict = judge(small_cnn, picture)
        assert (verdict["name"] in ("REAL", "FAKE")) == sure
        assert ("perhaps" in verdict["words"]) != sure


def test_it_says_so_where_the_picture_is_unlike_what_it_knows(small_cnn):
    small_cnn.largest_distance.fill_(-1)
    verdict = judge(small_cnn, Image.effect_noise((64, 64), 50))
    assert verdict["name"] == "not sure"
    assert "unlike" in verdict["words"]


@pytest.fixture
def client(small_cnn):
    always = [type(small_cnn)(**small_cnn.config).eval() for _ in range(2)]
    for model, bias in zip(always, (-20.0, 20.0), strict=True):
        model.head.bias.data.fill_(bias)
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


def test_the_served_demo_explains_a_bad_file(client, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"not a picture")
    words, share, _ = client.predict(handle_file(path), "says real", api_name="/predict")
    assert "not a picture" in words
    assert not share


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
