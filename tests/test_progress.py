"""What a person who sits before the notebook sees: a line that goes away, a sentence for an error, the demo."""

import urllib.request

import pytest
from jupyter_client.manager import start_new_kernel

from detector.report import ROOT


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(cwd=str(ROOT), kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code: str, *, watched: bool = True) -> list[dict]:
    """A cell's outputs, as a front end with a keyboard gets them, or one without."""
    messages = []
    client.execute_interactive(code, allow_stdin=watched, output_hook=messages.append, timeout=120)
    wanted = ("display_data", "update_display_data", "stream", "error", "execute_result")
    return [message["content"] | {"type": message["msg_type"]} for message in messages if message["msg_type"] in wanted]


LOOP = """
import time
from detector.progress import progress
for _ in progress(range(3), desc="working"):
    time.sleep(0.7)
"""


def test_progress_is_one_line_that_goes_away(kernel):
    outputs = run(kernel, LOOP)
    assert {output["type"] for output in outputs} == {"display_data", "update_display_data"}
    assert len({output["transient"]["display_id"] for output in outputs}) == 1
    assert any("working" in output["data"]["text/plain"] for output in outputs)
    assert outputs[-1]["data"]["text/plain"] == ""


def test_nothing_is_shown_where_nobody_watches(kernel):
    assert run(kernel, LOOP, watched=False) == []


def test_an_input_error_is_a_sentence(kernel):
    (error,) = run(kernel, "import functions as fn; fn.pick_budget('huge')")
    assert error["type"] == "error"
    assert error["traceback"] == ["there is no budget 'huge': choose quick, standard, full."]


def test_the_demo_is_inline_and_does_not_block(kernel):
    code = """
from detector.models import CNN
from detector.demo import build_demo, launch_demo
app = build_demo({"model": CNN()})
launch_demo(app)
print(app.local_url)
"""
    outputs = run(kernel, code)
    assert any("iframe" in str(output.get("data")) for output in outputs)
    (address,) = [output["text"].strip() for output in outputs if output.get("name") == "stdout"]
    with urllib.request.urlopen(address) as page:
        assert page.status == 200
    assert "iframe" not in str(run(kernel, code, watched=False))
