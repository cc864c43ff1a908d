"""The command line run in this process, in an empty folder, on small photos and a small network."""

import importlib
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
import torch
from PIL import Image
from skimage import data
from typer.testing import CliRunner, Result

from convscope.cli.running import COMMANDS, app
from convscope.results import Comparison

for name in COMMANDS:  # each registers its command
    importlib.import_module(f"convscope.cli.{name}")

NET = """
import torch
from torch import nn

MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 16
CLASSES = ["tabby", "lion", "crane", "crane"]


def make():
    torch.manual_seed(382)  # answers tabby, lion and crane for plain colours
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4, bias=False)]
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), *last)
    for layer in net[0], net[2]:
        nn.init.zeros_(layer.bias)  # so that colours make a difference
    return net


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        return grad * (ctx.saved_tensors[0] > 0)


class Act(nn.Module):
    def forward(self, x):
        return Hidden.apply(x)


def opaque():
    net = make()
    net[1] = Act()
    return net


def only_16_px():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 14 * 14, 4))
"""


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; logs of crashes go elsewhere."""
    logs = tmp_path_factory.mktemp("logs")
    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(logs))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run ``convscope ARGS`` and expect the exit code ``code``."""

    def run(*args: object, code: int = 0) -> Result:
        with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
            result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exit_code == code, f"exit {result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-image's cat, coffee and rocket, small. Never written into."""
    folder = tmp_path_factory.mktemp("in") / "photos"
    folder.mkdir()
    for name, pixels in (("cat.jpg", data.chelsea()), ("coffee.png", data.coffee()), ("rocket.jpg", data.rocket())):
        image = Image.fromarray(pixels)
        image.thumbnail((160, 160))
        image.save(folder / name)
    return folder


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``net.py:make``, a network of 16 x 16 pixels and four classes."""
    file = tmp_path_factory.mktemp("model") / "net.py"
    file.write_text(NET)
    return f"{file}:make"


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Comparison]:
    """The sheets by file name; caught where they would be drawn and written, which takes the longest."""
    caught: dict[str, Comparison] = {}

    def save(self: Comparison, path: Path) -> Path:
        caught[path.name] = self
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a sheet")
        return path

    monkeypatch.setattr(Comparison, "save", save)
    return caught
