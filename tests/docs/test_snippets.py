"""Every snippet of the documentation runs, as it stands, in an empty folder with scikit-image's photos in it.

Nothing is fetched: the network is the bundled one, or the snippet's own.
"""

import runpy
import shlex
import shutil
import socket
import sys
from pathlib import Path

import platformdirs
import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from convscope.cli import running

DOCS = Path(__file__).resolve().parents[2] / "docs"
SNIPPETS = DOCS / "snippets"
OF_OTHERS = set(SNIPPETS.glob("coming_from/*/there.py"))  # run beside ours in tests/peers, or dead
PROGRAMS = sorted(set(SNIPPETS.rglob("*.py")) - OF_OTHERS)
COMMANDS = sorted(SNIPPETS.rglob("*.sh"))
PHOTOS = {"cat.png": data.chelsea, "coffee.png": data.coffee, "rocket.png": data.rocket}


def relative(file: Path) -> str:
    return file.relative_to(SNIPPETS).as_posix()


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photos, the user's own network, and no way out."""
    (tmp_path / "photos").mkdir()
    for name, pixels in PHOTOS.items():
        Image.fromarray(pixels()).save(tmp_path / name)
        shutil.copy(tmp_path / name, tmp_path / "photos")
    shutil.copy(SNIPPETS / "my_net.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(tmp_path))

    def refuse(*_args: object) -> None:
        raise AssertionError("a snippet wants the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


@pytest.mark.parametrize("file", PROGRAMS, ids=relative)
def test_a_program_runs(file: Path) -> None:
    known = set(sys.modules)
    with torch.random.fork_rng(devices=[]):
        runpy.run_path(str(file), run_name="__main__")
    for name in ("my_net",):  # another test has another file of that name
        if name not in known:
            sys.modules.pop(name, None)


@pytest.mark.parametrize("file", COMMANDS, ids=relative)
def test_a_command_does_what_it_says(file: Path, workplace: Path) -> None:
    import importlib

    for name in running.COMMANDS:
        importlib.import_module(f"convscope.cli.{name}")
    for line in file.read_text().splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "convscope"
        with torch.random.fork_rng(devices=[]):
            result = CliRunner().invoke(running.app, arguments)
        assert result.exit_code == 0, f"{line}\nexit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        pictures = [Path(word) for word in result.stdout.split() if word.endswith(".png")]
        assert all((workplace / picture).stat().st_size > 1000 for picture in pictures)
        assert pictures or arguments[0] not in ("explain", "features", "filters", "ablate", "visualize"), (
            f"no picture: {line}"
        )
