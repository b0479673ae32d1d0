"""The demo under load: every request has an answer or a refusal, and nobody gets another's."""

import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from detector.core import files
from detector.data.decode import MAX_BYTES

MEMORY = 150e6  # bytes that the server may gain by a second crowd
REFUSED = "queue is full"
API = "gradio_api"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, psutil.Process, Path]]:
    """Serve the demo in its own process: its address, its process and its upload folder."""
    uploads = tmp_path_factory.mktemp("uploads")
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("serve.py")],
        env=os.environ | {"PYTHONPATH": str(files.ROOT), "GRADIO_TEMP_DIR": str(uploads)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip(), psutil.Process(process.pid), uploads
    process.kill()
    process.wait()


def coloured(colour: np.ndarray) -> bytes:
    """Return a PNG image of one colour with a little noise, by which its answer is recognised."""
    noise = np.random.default_rng().integers(-9, 10, (64, 64, 3))
    file = io.BytesIO()
    Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def post(client: httpx.Client, data: list, function: str = "predict") -> str:
    """Send a request and return the stream of its events as text."""
    sent = client.post(f"{API}/call/{function}", json={"data": data})
    if "event_id" not in sent.text:
        return sent.text
    return client.get(f"{API}/call/{function}/{sent.json()['event_id']}").text


def upload(client: httpx.Client, image: bytes) -> dict:
    (path,) = client.post(f"{API}/upload", files={"files": ("image.png", image)}).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def ask(client: httpx.Client, colour: np.ndarray) -> str:
    """Predict an image of a colour, and check that the answer shows it. Return 'answered' or 'refused'."""
    events = post(client, [upload(client, coloured(colour)), "cnn"])
    if REFUSED in events.lower():
        return "refused"
    answer = json.loads(events.rpartition("event: complete\ndata: ")[2].splitlines()[0])
    assert "Prediction: " in answer[0], answer[0]
    shown = Image.open(io.BytesIO(client.get(answer[2]["url"]).content)).convert("RGB")
    assert np.abs(np.asarray(shown).mean((0, 1)) - colour).max() < 12, "another client's image"
    return "answered"


def use(url: str, number: int, until: float) -> tuple[list[str], list[float]]:
    """Ask again and again; return the outcomes, and the seconds of those that were answered."""
    outcomes, seconds, rng = [], [], np.random.default_rng(number)
    with httpx.Client(base_url=url, timeout=120) as client:
        while time.monotonic() < until:
            started = time.monotonic()
            outcomes.append(ask(client, rng.integers(20, 236, 3)))
            if outcomes[-1] == "answered":
                seconds.append(time.monotonic() - started)
            else:
                time.sleep(0.5)
    return outcomes, seconds


def send_slowly(url: str, until: float) -> None:
    """Begin an upload, and send a byte a second."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = f"POST /{API}/upload HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 100000\r\n"
        line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        while time.monotonic() < until:
            line.sendall(b"x")
            time.sleep(1)


def leave(url: str, until: float) -> None:
    """Ask for predictions and disconnect before their answers."""
    with httpx.Client(base_url=url, timeout=120) as client:
        while time.monotonic() < until:
            data = [upload(client, coloured(np.full(3, 128))), "cnn"]
            sent = client.post(f"{API}/call/predict", json={"data": data}).json()
            if "event_id" in sent:
                with client.stream("GET", f"{API}/call/predict/{sent['event_id']}"):
                    time.sleep(random.uniform(0, 0.2))


def rest(process: psutil.Process, uploads: Path) -> int:
    """Wait until the uploads are deleted; return the memory of the server in bytes."""
    for _ in range(120):
        time.sleep(1)
        if not [path for path in uploads.rglob("*") if path.is_file()]:
            break
    else:
        raise AssertionError("uploads are still there")
    return process.memory_info().rss


def crowd(url: str, clients: int, duration: float) -> None:
    """Let clients use the demo, while one more is slow and one more disconnects; print the outcomes."""
    until = time.monotonic() + duration
    others = [threading.Thread(target=target, args=(url, until)) for target in (send_slowly, leave)]
    for thread in others:
        thread.start()
    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(lambda number: use(url, number, until), range(clients)))
    for thread in others:
        thread.join()
    outcomes = [outcome for own, _ in results for outcome in own]
    seconds = [second for _, own in results for second in own]
    counts = {name: outcomes.count(name) for name in ("answered", "refused")}
    print(f"\n{clients} clients: {counts}, median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")
    assert all(own for own, _ in results)


def test_a_crowd(server, effort):
    """50 clients for two minutes in the long form. In the second half the server gains no memory."""
    url, process, uploads = server
    memory = []
    for _ in range(2):
        crowd(url, effort(10, 50), effort(4, 60))
        memory.append(rest(process, uploads))
    print(f"memory at rest: {memory[0] / 1e6:.0f} MB, then {memory[1] / 1e6:.0f} MB")
    assert memory[1] - memory[0] < MEMORY


HOSTILE = [
    {"path": "../../etc/passwd"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"url": "http://127.0.0.1:9/x.png", "path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}},
    {"path": "file:///etc/passwd"},
    {"path": ["a"]},
    {"path": "a" * 100_000},
    {"path": "\0"},
    [],
    "text",
    7,
    None,
    True,
    {"path": None, "extra": {"deep": [[[[[[]]]]]]}},
]


def test_hostile_requests(server, effort):
    """Wrong types, paths and URLs at every function, the private ones too; then the demo still answers."""
    url, _, uploads = server
    # A new connection each time: the server closes one after an error
    with httpx.Client(base_url=url, timeout=120, headers={"Connection": "close"}) as client:
        functions = range(len(client.get("config").json()["dependencies"]))
        for row in range(effort(26, 1000)):
            value = HOSTILE[row % len(HOSTILE)]
            body = {"data": [value, value], "fn_index": row % (len(functions) + 2), "session_hash": f"s{row}"}
            answers = [client.post(f"{API}/queue/join", json=body), client.post(f"{API}/run/predict", json=body)]
            if isinstance(value, dict) and str(value.get("path")).isprintable():
                answers.append(client.get(f"{API}/file={str(value['path'])[:1000]}"))
            for answer in answers:
                assert "root:" not in answer.text and "Traceback" not in answer.text
            for function in ("predict", "predict_many"):
                events = post(client, [value, "cnn"], function)
                assert "root:" not in events and "Traceback" not in events and "certainly" not in events
        with suppress(httpx.TransportError):  # the server need not read the body before it refuses it
            big = client.post(f"{API}/upload", files={"files": ("big.png", bytes(2 * MAX_BYTES + 1))})
            assert big.status_code in (400, 413), big.status_code
        assert not [path for path in uploads.rglob("big.png") if path.stat().st_size > MAX_BYTES]
        assert ask(client, np.array([30, 160, 90])) == "answered"
