"""The public names are pinned, light to import, and never shadowed by a module of the same name."""

import dataclasses
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

import convscope as cs
from convscope import attribution
from tests import friendly, nets
from tests.trainings.runs import snapshot, write_run

NAMES = [
    "Ablation", "Atlas", "ConvscopeError", "Dream", "Explanation", "FeatureMaps", "FilterTiles", "Inversion", "Network",
    "Pictures", "Prediction", "Preprocess", "Probe", "TrainingRun", "ablate", "audit", "dream", "explain", "features",
    "filters", "invert", "load", "open_atlas", "open_training", "predict", "read_image", "survey", "train", "visualize",
]  # fmt: skip
HEAVY = ("torch", "torchvision", "matplotlib", "skimage", "jinja2")


def in_a_fresh_interpreter(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_public_names_are_these() -> None:
    assert cs.__all__ == NAMES
    assert set(NAMES) <= set(dir(cs))


@pytest.mark.parametrize("name", dir(cs))
def test_every_name_that_dir_lists_can_be_had(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing else has imported it: forgotten here, then asked for."""
    expected = getattr(cs, name)
    monkeypatch.delattr(cs, name)
    assert getattr(cs, name) is expected


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        _ = cs.explane


def test_importing_convscope_imports_nothing_heavy() -> None:
    code = f"import sys, convscope; print([m for m in {HEAVY} if m in sys.modules])"
    assert in_a_fresh_interpreter(code).strip() == "[]"


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from convscope.cli import running
sys.argv = ["convscope", "--help"]
try:
    running.main()
except SystemExit as done:
    assert not done.code, done.code
for command in running.COMMANDS:
    shown = CliRunner().invoke(running.app, [command, "--help"])
    assert shown.exit_code == 0 and "Usage" in shown.stdout, shown.output
print("loaded", [m for m in {HEAVY} if m in sys.modules])
"""
    shown = in_a_fresh_interpreter(code)
    assert "explain" in shown
    assert shown.rstrip().endswith("loaded []")


@pytest.fixture(scope="module")
def everything() -> list[ModuleType]:
    """Every submodule, imported."""
    return [importlib.import_module(found.name) for found in pkgutil.walk_packages(cs.__path__, "convscope.")]


def test_each_public_name_can_be_called_twice_after_every_submodule_was_imported(
    everything: list[ModuleType], tmp_path: Path
) -> None:
    assert len(everything) > 40
    net = friendly.network()
    for time in range(2):
        photo = cs.read_image(friendly.photo())
        seen = cs.predict(net, photo)
        map_ = cs.explain(net, photo, method="grad-cam")
        assert isinstance(dataclasses.replace(cs.features(net, photo)), cs.FeatureMaps)
        assert isinstance(dataclasses.replace(cs.filters(net)), cs.FilterTiles)
        assert cs.load(net.module, classes=net.classes, preprocess=cs.Preprocess(size=12, crop=12)).module is net.module
        assert isinstance(cs.Network(nn.Identity(), friendly.PREPROCESS, (), "x"), cs.Network)
        assert isinstance(dataclasses.replace(seen), cs.Prediction)
        assert isinstance(dataclasses.replace(cs.ablate(net, photo, most_important=True)), cs.Ablation)
        assert isinstance(dataclasses.replace(map_), cs.Explanation)
        assert isinstance(dataclasses.replace(cs.visualize(net, "conv2:0", steps=1)), cs.Pictures)
        assert isinstance(dataclasses.replace(cs.invert(net, photo, steps=1)), cs.Inversion)
        assert isinstance(dataclasses.replace(cs.dream(net, photo, steps=1)), cs.Dream)
        atlas = cs.survey(net, [friendly.photo()], tmp_path / f"{time}.atlas")
        assert isinstance(atlas, cs.Atlas)
        assert cs.open_atlas(atlas.path).layers == atlas.layers
        probe = cs.Probe(net, ["conv2"], (torch.zeros(3, 3, 12, 12), torch.arange(3)))
        assert probe(0) is probe.snapshots[0]
        run = cs.open_training(write_run(tmp_path / f"{time}.run", [snapshot(0)]))
        assert isinstance(dataclasses.replace(run), cs.TrainingRun)
        assert isinstance(cs.ConvscopeError("no"), ValueError)


def test_no_submodule_has_the_name_of_a_public_function(everything: list[ModuleType]) -> None:
    """Python puts a submodule into its package under its own name, over whatever is there."""
    for package in (cs, attribution):
        modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
        assert not modules & set(package.__all__)
    assert all(not isinstance(getattr(attribution, name), ModuleType) for name in attribution.__all__)
    assert attribution.grad_cam(nets.plain(), nets.images(), layer="conv2").shape == (2, 6, 6)
