"""Exit codes, and what is said where: results on stdout, one line on stderr for whatever ends a run."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import convscope.cli.running as running
from convscope.errors import ConvscopeError
from convscope.network.picture_folders import RESULTS

PROGRAM = [sys.executable, "-m", "convscope"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run a command whose body is given."""

    def run_body(body: Callable[[], int | None]):
        alone = typer.Typer()
        alone.callback()(lambda: None)
        monkeypatch.setattr(running, "app", alone)
        running.command("it")(body)
        return CliRunner().invoke(alone, ["it"])

    return run_body


def raising(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_the_exit_code(run, returned: int | None, code: int) -> None:
    result = run(lambda: returned)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "")


def test_a_refusal_is_one_line_and_exit_2(run) -> None:
    result = run(raising(ConvscopeError("no such thing:\n  many\n lines")))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "convscope: no such thing: many lines\n"


@pytest.mark.parametrize(
    ("name", "why", "said"),
    [
        ("a/b.png", "a/b.png is not a picture: its content", "it is not a picture: its content"),
        ("b.png", "my photos/a/b.png is empty (0 bytes)", "it is empty (0 bytes)"),
        ("000012", "000012 (b.png) cannot be read: x", "it (b.png) cannot be read: x"),
        ("000012", "photo 000012: a tensor of 3 is none", "a tensor of 3 is none"),
        ("b.png", "aab.png is another", "aab.png is another"),
        ("b.png", "there is no file in/b.png", "there is no file in/b.png"),
        ("a+(1).png", "a+(1).png is empty", "it is empty"),
    ],
)
def test_what_is_skipped_is_named_once(capsys: pytest.CaptureFixture[str], name: str, why: str, said: str) -> None:
    running.say_skipped(name, why)
    assert capsys.readouterr().err == f"skipped {name}: {said}\n"


def test_results_go_where_the_next_run_does_not_look_for_photos() -> None:
    for name in running.COMMANDS:
        importlib.import_module(f"convscope.cli.{name}")
    options = [option for one in typer.main.get_command(running.app).commands.values() for option in one.params]
    defaults = {str(one.default) for one in options if one.name == "out" and one.default is not None}
    assert defaults == {RESULTS, "convscope-demo"}  # which is known by its files


def test_ctrl_c_is_exit_130(run) -> None:
    result = run(raising(KeyboardInterrupt()))
    assert (result.exit_code, result.stderr) == (130, "convscope: interrupted; what was written stays\n")


class Dropped:
    """Of which Ctrl-C falls into the destructor."""

    def __del__(self) -> None:
        raise KeyboardInterrupt


@pytest.fixture
def heard() -> Iterator[None]:
    """A script that runs the tests in the background has SIGINT ignored, and Python then raises nothing."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_is_heard_where_python_drops_it(run) -> None:
    """Oracle: the command would go on for two seconds. No exception leaves a destructor or a weak reference's callback;
    seen in a training, whose Ctrl-C changed nothing."""
    went_on = []

    def body() -> None:
        Dropped()
        for step in range(200):
            went_on.append(step)
            time.sleep(0.01)

    result = run(body)
    assert (result.exit_code, result.stderr) == (130, "convscope: interrupted; what was written stays\n")
    assert len(went_on) < 150


@pytest.mark.usefixtures("heard")
def test_a_ctrl_c_that_comes_with_the_end_stops_nothing_later(run) -> None:
    """What was dropped is not raised again after the command."""
    assert run(lambda: Dropped() and None).exit_code == 0
    time.sleep(3 * running.AGAIN_SECONDS)


def test_a_crash_is_one_line_exit_70_and_a_log_with_the_traceback(run) -> None:
    result = run(raising(ZeroDivisionError("by zero\nand more")))
    assert (result.exit_code, result.stdout) == (70, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("convscope: unexpected ZeroDivisionError: by zero (traceback: ")
    log = Path(line.split("traceback: ")[1].removesuffix(")"))
    assert log.name.startswith("crash-")
    assert "ZeroDivisionError: by zero\nand more" in log.read_text()
    assert "raise error" in log.read_text()


def test_a_crash_is_logged_elsewhere_where_the_log_folder_cannot_be_made(run, monkeypatch, tmp_path: Path) -> None:
    import platformdirs

    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(tmp_path / "none"))
    line = run(raising(ZeroDivisionError())).stderr
    log = Path(line.split("traceback: ")[1].strip().removesuffix(")"))
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_version(cli) -> None:
    assert cli("--version").stdout == "convscope 0.1.0\n"


def test_mistakes_of_use_are_exit_2_with_a_hint(cli) -> None:
    assert "--mehtod" in cli("explain", "x.jpg", "--mehtod", "cam", code=2).stderr
    assert "'explane'" in cli("explane", code=2).stderr
    assert "'--top'" in cli("predict", "x.jpg", "--top", "0", code=2).stderr


def test_every_command_is_registered() -> None:
    assert sorted(c.name for c in running.app.registered_commands) == sorted(running.COMMANDS)


def test_the_program_itself_refuses_with_exit_2_and_makes_no_files(tmp_path: Path) -> None:
    """A process of its own: nothing of this one has been imported there."""
    args = ["explain", "--demo", "--method", "grad-camm", "--out", str(tmp_path / "out")]
    ran = subprocess.run([*PROGRAM, *args], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("convscope: no method 'grad-camm'; did you mean 'grad-cam'")
    assert ran.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_has_gone_is_no_error() -> None:
    """As in ``convscope layers --json | head -1``; the output is noticed to be lost only when it is flushed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": BUFFERED}
    with subprocess.Popen([*PROGRAM, "layers", "--json"], **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")
