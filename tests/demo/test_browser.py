"""The demo as a person uses it, in a browser. Skipped where Chromium and its driver are not installed."""

import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from detector.demo import app, launch_demo, texts
from detector.models.cnn import CNN

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--window-size=1200,1400"]
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="Chromium is not installed")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The open app. The model 'real' always predicts REAL; 'fake' always predicts FAKE."""
    monkeypatch.setattr(texts, "source_limits", lambda name: f"Results of {name}")
    models = {name: CNN(widths=(16, 16), stem=16).eval() for name in ("real", "fake")}
    for model, bias in zip(models.values(), (-20.0, 20.0), strict=True):
        model.head.bias.data.fill_(bias)
    options = ChromeOptions()
    options.binary_location = BROWSER
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    served = launch_demo(models, [Image.effect_noise((32, 32), 50).convert("RGB")])
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.get(served.local_url)
    yield browser
    browser.quit()
    served.close(verbose=False)


@pytest.fixture
def images(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for row, path in enumerate(paths):
        Image.effect_noise((64, 64), 50 + row).save(path)
    return paths


def find(page: Chrome, selector: str, text: str = ""):
    """Return the first element of a CSS selector with the text, visible where a text is given; or None."""
    elements = page.find_elements(By.CSS_SELECTOR, selector)
    return next((e for e in elements if text in e.text and (e.is_displayed() or not text)), None)


def wait(page: Chrome, selector: str, text: str = "", seconds: int = 60):
    """Return `find`'s element as soon as there is one."""
    return until(page, lambda: find(page, selector, text), seconds)


def choose(page: Chrome, name: str) -> None:
    """Choose a model under 'Advanced'."""
    if find(page, "label", name) is None:
        wait(page, "button", "Advanced").click()
    wait(page, "label", name).click()


def until(page: Chrome, condition, seconds: int = 60):
    return WebDriverWait(page, seconds, ignored_exceptions=[Exception]).until(lambda _: condition())


def test_one_image_is_predicted_and_explained_by_each_model(page, images):
    wait(page, "input[type=file]").send_keys(str(images[0]))
    wait(page, ".prediction", "Prediction: REAL")
    assert find(page, ".prediction").get_attribute("role") == "status"  # for screen readers
    wait(page, ".prose", "Evidence by place")
    choose(page, "fake")
    wait(page, ".prediction", "Prediction: FAKE")
    wait(page, ".prose", "as FAKE;")
    assert not find(page, "body", "Error")


def test_an_example_image_is_predicted(page):
    wait(page, ".gallery-item, .gallery button, button.gallery-item").click()
    wait(page, ".prediction", "Prediction: REAL")


def test_the_limits_show_the_results_of_each_model(page):
    wait(page, "button[role=tab]", "Limits").click()
    wait(page, ".prose", "Results of real")
    wait(page, ".prose", "Results of fake")


def test_a_file_that_is_no_image_gives_a_message(page, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    wait(page, "input[type=file]").send_keys(str(tmp_path / "bad.png"))
    wait(page, ".prediction", "not an image")


def test_many_images_become_a_table_and_a_file(page, images, tmp_path):
    wait(page, "button[role=tab]", "Many").click()
    wait(page, "input[type=file][multiple]").send_keys("\n".join(map(str, images)))
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "tr.file")) == len(images))
    wait(page, "button", "Predict").click()
    wait(page, ".prediction", "3 REAL")
    wait(page, "a, button", "Download the table").click()
    saved = until(page, lambda: list((tmp_path / "downloads").glob("*.csv")))
    assert pd.read_csv(saved[0])["label"].tolist() == ["REAL"] * 3


def test_the_page_fits_a_phone(page):
    page.set_window_size(500, 900)  # the narrowest window that Chromium opens
    wait(page, "button[role=tab]", "One")
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("stage", ["first_prediction", "evidence_panels"])
def test_no_prediction_is_shown_beside_another_models_name(page, images, monkeypatch, stage):
    """Neither while the next prediction is computed, nor when an earlier one finishes late, in either stage."""
    wait(page, "input[type=file]").send_keys(str(images[0]))
    wait(page, ".prose", "Evidence by place")
    computed, running = getattr(app, stage), []

    def slow(model, *arguments):
        running.append(model)
        time.sleep(4)
        return computed(model, *arguments)

    monkeypatch.setattr(app, stage, slow)
    choose(page, "fake")
    until(page, lambda: not find(page, ".prediction", "REAL"), seconds=3)
    until(page, lambda: running)
    choose(page, "real")
    until(page, lambda: not find(page, ".prediction", "FAKE"), seconds=3)
    wait(page, ".prediction", "Prediction: REAL")
    wait(page, ".prose", "Evidence by place")
    assert not find(page, ".prediction", "FAKE") and not find(page, ".prose", "as FAKE;")
    assert len(running) == 2
