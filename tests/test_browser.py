"""The demo as a person uses it, in a browser: skipped where Chromium and its driver are not installed."""

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

from detector import demo
from detector.models import CNN

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1400",
]
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="Chromium is not installed")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The open app, with a model that always says REAL and one that always says FAKE."""
    monkeypatch.setattr(demo, "limits_of", lambda name: f"How often, for {name}")  # they have no records
    models = {}
    for name, bias in (("says real", -20.0), ("says fake", 20.0)):
        models[name] = CNN(widths=(16, 16), stem=16, parts=name == "says fake").eval()
        models[name].head.bias.data.fill_(bias)
    options = ChromeOptions()
    options.binary_location = BROWSER
    downloads = {"download.default_directory": str(tmp_path / "downloads")}
    options.add_experimental_option("prefs", downloads)
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    app = demo.build_demo(models, [Image.new("RGB", (32, 32), "red")])
    demo.launch_demo(app)
    browser = Chrome(options=options, service=Service(DRIVER))
    browser.get(app.local_url)
    yield browser
    browser.quit()
    demo.close_demo()


def wait(page: Chrome, found, seconds: int = 60):
    return WebDriverWait(page, seconds, ignored_exceptions=[Exception]).until(lambda page: found(page))


def one(page: Chrome, selector: str, text: str = ""):
    """The first shown element of a selector that has the text."""
    return next(
        (e for e in page.find_elements(By.CSS_SELECTOR, selector) if text in e.text and (e.is_displayed() or not text)),
        None,
    )


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for row, path in enumerate(paths):
        Image.effect_noise((64, 64), 50 + row).save(path)
    return paths


def test_one_picture_is_judged_and_explained_and_judged_by_another_model(page, pictures):
    wait(page, lambda page: one(page, "input[type=file]")).send_keys(str(pictures[0]))
    wait(page, lambda page: one(page, ".verdict", "REAL: almost certainly a photograph"))
    assert one(page, ".verdict").get_attribute("role") == "status"  # told by a screen reader
    wait(page, lambda page: one(page, ".prose", "Where it comes from"))
    wait(page, lambda page: one(page, "label", "says fake")).click()
    wait(page, lambda page: one(page, ".verdict", "FAKE: almost certainly made by an AI"))
    wait(page, lambda page: one(page, ".prose", "Part by part"))
    assert not one(page, "body", "Error")


def test_the_limits_are_those_of_the_chosen_model(page):
    wait(page, lambda page: one(page, "label", "says fake")).click()
    wait(page, lambda page: one(page, "button[role=tab]", "can and cannot")).click()
    wait(page, lambda page: one(page, ".prose", "How often, for says fake"))
    wait(page, lambda page: one(page, "label", "says real")).click()
    wait(page, lambda page: one(page, ".prose", "How often, for says real"))


def test_a_bad_file_is_told(page, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    wait(page, lambda page: one(page, "input[type=file]")).send_keys(str(tmp_path / "bad.png"))
    wait(page, lambda page: one(page, ".verdict", "not a picture"))


def test_many_pictures_become_a_table_and_a_file(page, pictures, tmp_path):
    wait(page, lambda page: one(page, "button[role=tab]", "Many")).click()
    wait(page, lambda page: one(page, "input[type=file][multiple]")).send_keys("\n".join(map(str, pictures)))
    wait(page, lambda page: len(page.find_elements(By.CSS_SELECTOR, "tr.file")) == len(pictures))
    wait(page, lambda page: one(page, "button", "Judge them")).click()
    wait(page, lambda page: one(page, ".verdict", "3 REAL"))
    wait(page, lambda page: one(page, "a, button", "Download the table")).click()
    kept = wait(page, lambda _: list((tmp_path / "downloads").glob("*.csv")))
    assert pd.read_csv(kept[0])["verdict"].tolist() == ["REAL"] * 3


def test_it_fits_a_phone(page):
    page.set_window_size(500, 900)  # as narrow as a window gets
    wait(page, lambda page: one(page, "button[role=tab]", "One"))
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_no_verdict_stands_beside_another_model_than_its_own(page, pictures, monkeypatch):
    """Not while the next one is awaited, and not when a former one comes late."""
    wait(page, lambda page: one(page, "input[type=file]")).send_keys(str(pictures[0]))
    wait(page, lambda page: one(page, ".prose", "Where it comes from"))
    judge, running = demo.judge, []

    def slow(model, image):
        running.append(model)
        time.sleep(4)
        return judge(model, image)

    monkeypatch.setattr(demo, "judge", slow)
    wait(page, lambda page: one(page, "label", "says fake")).click()
    wait(page, lambda page: not one(page, ".verdict", "REAL"), seconds=3)
    wait(page, lambda _: running)
    wait(page, lambda page: one(page, "label", "says real")).click()
    wait(page, lambda page: one(page, ".verdict", "REAL: almost certainly a photograph"))
    assert not one(page, ".verdict", "FAKE")
    assert len(running) == 2
