"""Write README's screenshot of the demo: its answer for a photo of an installed package, `models/demo.png`.

Command: `python -m benchmarks.screenshot`. Cost: half a minute. It needs Chromium with its driver, and CLIP's image
encoder.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from sklearn.datasets import load_sample_image

from detector.core import files
from detector.core.console import UserError, run_command
from detector.demo import launch_demo
from detector.models.weights import NATIVE_RELEASED, RELEASED, released_models

FLAGS = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync", "hide-scrollbars", "window-size=1000,1420")  # fmt: skip
ANSWERED, COMPLETE = "Prediction:", "P(FAKE) of each crop"  # texts of the page
PATIENCE_S = 120


@contextmanager
def open_browser(folder: Path) -> Iterator[Chrome]:
    """Start Chromium with a new profile in `folder`. Raises UserError if it is not installed."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        raise UserError("Chromium or its driver is missing. Install both: apt-get install chromium chromium-driver.")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, f"user-data-dir={folder}"):
        options.add_argument(f"--{flag}")
    browser = Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def write_screenshot(path: Path) -> None:
    """Open the demo, upload a photo, wait for all parts of the answer, and write what a person then sees."""
    served = launch_demo(released_models([*NATIVE_RELEASED, *RELEASED]))
    with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder) / "profile") as browser:
        photo = Path(folder) / "photo.png"
        Image.fromarray(load_sample_image("china.jpg")).save(photo)
        browser.get(served.local_url)
        wait = WebDriverWait(browser, PATIENCE_S, ignored_exceptions=[Exception])
        wait.until(lambda page: page.find_element(By.CSS_SELECTOR, "input[type=file]")).send_keys(str(photo))
        for text in (ANSWERED, COMPLETE):
            wait.until(lambda page, text=text: text in page.find_element(By.TAG_NAME, "body").text)
        browser.execute_script("window.scrollTo(0, 0)")
        with files.atomic_write(path) as part:
            part.write_bytes(browser.get_screenshot_as_png())
    served.close(verbose=False)


if __name__ == "__main__":
    sys.exit(run_command(lambda: write_screenshot(files.SCREENSHOT)))
