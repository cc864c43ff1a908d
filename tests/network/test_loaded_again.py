"""``Network.again``: the arguments that make a network again; oracle its fingerprint, from another folder."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import convscope as cs
from tests import nets

NET = """
from torch import nn

MEAN = STD = (0.5, 0.5, 0.5)


def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


def test_relative_paths_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "3.weight": (3, 4), "3.bias": (3,)}
    save_file({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, "own.safetensors")
    with torch.random.fork_rng(devices=[]):
        first = cs.load("net.py:make", "own.safetensors", "names.txt", size=20, mean=(0.1, 0.2, 0.3))
    again = json.loads(json.dumps(first.again))
    os.chdir("/")
    with torch.random.fork_rng(devices=[]):
        second = cs.load(again.pop("spec"), **again)
    assert second.fingerprint == first.fingerprint
    assert (second.preprocess, second.classes) == (first.preprocess, ("a", "b", "c"))


def test_no_name_at_all_is_the_bundled_network() -> None:
    first = cs.load()
    assert first.again is not None
    assert first.again["spec"] == "bundled:tiny50"
    assert cs.load(**{"spec_or_module" if n == "spec" else n: v for n, v in first.again.items()}).name == first.name


def test_a_live_module_or_a_preprocessing_of_its_own_cannot_be_made_again() -> None:
    assert cs.load(nets.plain(), preprocess=cs.Preprocess(size=12, crop=12)).again is None
    assert cs.load(preprocess=cs.Preprocess(size=64, crop=64)).again is None
