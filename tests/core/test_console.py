"""Progress in a terminal and in a notebook, and errors without a traceback."""

import pytest
from jupyter_client.manager import start_new_kernel

from detector.core import console, files
from detector.core.console import UserError, progress, run_command

LOOP = """
import time
from detector.core.console import progress
for _ in progress(range(3), desc="working"):
    time.sleep(0.7)
"""
ERROR = """
from detector.core.console import UserError
raise UserError("There is no such file. Check the path.")
"""


@pytest.fixture(scope="module")
def kernel():
    manager, client = start_new_kernel(cwd=str(files.ROOT), kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code: str, *, interactive: bool = True) -> list[dict]:
    """Return a cell's outputs in an interactive front end, or in one that only executes."""
    messages = []
    client.execute_interactive(code, allow_stdin=interactive, output_hook=messages.append, timeout=120)
    wanted = ("display_data", "update_display_data", "stream", "error", "execute_result")
    return [message["content"] | {"type": message["msg_type"]} for message in messages if message["msg_type"] in wanted]


def test_notebook_progress_is_one_line_that_is_removed(kernel):
    outputs = run(kernel, LOOP)
    assert {output["type"] for output in outputs} == {"display_data", "update_display_data"}
    assert len({output["transient"]["display_id"] for output in outputs}) == 1
    assert any("working" in output["data"]["text/plain"] for output in outputs)
    assert outputs[-1]["data"]["text/plain"] == ""


def test_executed_notebook_shows_no_progress(kernel):
    assert run(kernel, LOOP, interactive=False) == []


def test_notebook_shows_only_the_message_of_a_user_error(kernel):
    (error,) = run(kernel, ERROR)
    assert error["type"] == "error"
    assert error["traceback"] == ["There is no such file. Check the path."]


def test_progress_goes_to_the_file_that_the_environment_names(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(console.PROGRESS_FILE, str(tmp_path / "progress"))
    with progress(range(3), desc="working") as bar:
        assert list(bar) == [0, 1, 2]
        bar.fp.flush()
    assert "working" in (tmp_path / "progress").read_text()
    bar.fp.close()
    assert capsys.readouterr().err == ""


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("no such model"), 1, "error: no such model"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "training resumes"),
    ],
)
def test_commands_report_errors_without_a_traceback(capsys, error, status, message):
    assert run_command(lambda: raise_(error)) == status
    assert message in capsys.readouterr().err


def test_successful_commands_and_programming_errors(capsys):
    assert run_command(lambda: print("done")) == 0
    assert capsys.readouterr().out == "done\n"
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)
