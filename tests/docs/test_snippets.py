"""Every snippet of the documentation runs, as it stands, in an empty folder with scikit-image's photos in it.

Nothing is fetched: the network is the bundled one, or the snippet's own. Commands that optimise a picture take two
steps: what more of them make of it is tested elsewhere.
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
BRIEF = {"visualize": ("--steps", "2"), "dream": ("--steps", "2"), "invert": ("--steps", "2")}  # the last one counts
PHOTOS = {"cat.png": data.chelsea, "coffee.png": data.coffee, "rocket.png": data.rocket}
CLASSES = {"cat.png": "tabby", "coffee.png": "espresso", "rocket.png": "projectile"}  # folders of ``labelled``
BOXES = {"cat.png": (60, 10, 330, 290), "coffee.png": (60, 60, 500, 380), "rocket.png": (290, 30, 350, 400)}


def relative(file: Path) -> str:
    return file.relative_to(SNIPPETS).as_posix()


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The photos, flat and in class folders, the user's own network, and no way out."""
    (tmp_path / "photos").mkdir()
    for name, pixels in PHOTOS.items():
        Image.fromarray(pixels()).save(tmp_path / name)
        shutil.copy(tmp_path / name, tmp_path / "photos")
        labelled = tmp_path / "labelled" / CLASSES[name]
        labelled.mkdir(parents=True)
        shutil.copy(tmp_path / name, labelled)
        annotate(tmp_path, name)
    shutil.copy(SNIPPETS / "my_net.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(tmp_path))

    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:  # which leads to this machine only: to W&B's own service
            raise AssertionError("a snippet wants the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def annotate(folder: Path, name: str) -> None:
    """A row of ``boxes.csv``, and the box as a mask, for the photos in ``labelled``."""
    number = list(PHOTOS).index(name) + 1
    image = f"{CLASSES[name]}/{name}"
    with (folder / "boxes.csv").open("a") as table, (folder / "names.csv").open("a") as names:
        head = number == 1
        table.write("path,x0,y0,x1,y1\n" * head + f"{image},{','.join(map(str, BOXES[name]))}\n")
        names.write("number,name\n" * head + f"{number},{CLASSES[name]}\n")
    with Image.open(folder / name) as photo:
        mask = Image.new("L", photo.size)
    mask.paste(number, BOXES[name])
    file = folder / "masks" / image
    file.parent.mkdir(parents=True)
    mask.save(file)


# of Lightning: its advice on loading, and a question to torch that torch would have it ask otherwise
@pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")
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
            result = CliRunner().invoke(running.app, [*arguments, *BRIEF.get(arguments[0], ())])
        assert result.exit_code == 0, f"{line}\nexit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        pictures = [Path(each) for each in result.stdout.splitlines() if each.endswith(".png") and " " not in each]
        assert all((workplace / picture).stat().st_size > 1000 for picture in pictures)
        assert pictures or arguments[0] not in ("explain", "features", "filters", "ablate", "visualize"), (
            f"no picture: {line}"
        )
