"""Exit codes, and the program that the commands hang on.

Nothing heavy is imported here: ``convscope --help`` must answer at once.
"""

import _thread
import functools
import importlib
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from convscope.cli.allocator import keep_memory
from convscope.errors import ConvscopeError

COMMANDS = (
    "demo",
    "explain",
    "methods",
    "predict",
    "survey",
    "train",
    "unit",
    "features",
    "filters",
    "ablate",
    "visualize",
    "dream",
    "invert",
    "dissect",
    "embed",
    "export",
    "stats",
    "prototypes",
    "neighbours",
    "training",
    "audit",
    "layers",
    "doctor",
)
DONE, SKIPPED, REFUSED, CRASHED, INTERRUPTED = 0, 1, 2, 70, 130
AGAIN_SECONDS = 0.05  # after which a Ctrl-C that Python has dropped is raised again

app = typer.Typer(
    name="convscope",
    help="Make any PyTorch CNN open to look into.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def say(text: str) -> None:
    """A message to the person: stderr, so that stdout holds results only."""
    print(text, file=sys.stderr, flush=True)


def say_skipped(name: str, why: str) -> None:
    """That a photo was left out; most reasons begin with its name or path, which is then said once."""
    said = re.sub(rf"^(.*/)?{re.escape(name)} (?=\S)", "it ", why)
    say(f"skipped {name}: {said.removeprefix(f'photo {name}: ')}")


def command(
    name: str, cls: type[TyperCommand] = TyperCommand
) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a command; what it returns is the exit code, what it raises is turned into one."""

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **options: Any) -> None:
            raise typer.Exit(_code_of(function, args, options))

        return app.command(name, cls=cls)(run)

    return register


def _code_of(function: Callable[..., int | None], args: tuple[Any, ...], options: dict[str, Any]) -> int:
    try:
        with _interrupts_heard():
            code = function(*args, **options) or DONE
        sys.stdout.flush()  # here, so that a reader who has gone is noticed here
        return code
    except ConvscopeError as error:
        say(f"convscope: {' '.join(str(error).split())}")
        return REFUSED
    except KeyboardInterrupt:
        say("convscope: interrupted; what was written stays")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`| head`): nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter flushes once more
        return DONE
    except Exception as error:
        say(f"convscope: unexpected {type(error).__name__}: {_one_line(error)} (traceback: {_log_crash()})")
        return CRASHED


@contextmanager
def _interrupts_heard() -> Generator[None]:
    """Ctrl-C stops the command wherever it falls.

    Python only prints a KeyboardInterrupt that comes in a destructor or in a weak reference's callback, which no
    exception can leave, and torch has many of them: such a one is raised again a moment later.
    """
    before, again = sys.unraisablehook, list[threading.Timer]()

    def hear(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            again.append(threading.Timer(AGAIN_SECONDS, _thread.interrupt_main))
            again[-1].start()
        else:
            before(dropped)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _log_crash() -> Path:
    import platformdirs

    text = f"{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    try:
        folder = Path(platformdirs.user_log_dir("convscope", ensure_exists=True))
        handle = tempfile.NamedTemporaryFile("w", dir=folder, prefix="crash-", suffix=".log", delete=False)  # noqa: SIM115
    except OSError:
        handle = tempfile.NamedTemporaryFile("w", prefix="convscope-crash-", suffix=".log", delete=False)  # noqa: SIM115
    with handle:
        handle.write(text)
    return Path(handle.name)


def _version(wanted: bool) -> bool:
    if wanted:
        import importlib.metadata

        print(f"convscope {importlib.metadata.version('convscope')}")
        raise typer.Exit
    return wanted


@app.callback()
def _about(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Entry point of the ``convscope`` program."""
    for module in COMMANDS:  # each registers its command
        importlib.import_module(f"convscope.cli.{module}")

    keep_memory()
    app()
