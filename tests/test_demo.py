"""The demo as a client meets it, and the files that people drop on it."""

import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image

from detector import demo
from detector.demo import build_demo


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
