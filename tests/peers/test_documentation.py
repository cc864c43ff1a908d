"""What the page "coming from captum, grad-cam" says is the same is the same: both columns run, by name.

Captum's maps to 1e-4 of their maximum; grad-cam's after its own scaling: to [0, 1], enlarged, and to [0, 1] again.
"""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from convscope.attribution.activation_maps import upsample

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:Setting (backward|forward).* hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients:UserWarning"),
]
SNIPPETS = Path(__file__).resolve().parents[2] / "docs" / "snippets" / "coming_from"


def both_sides(package: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Name -> value, below the line ``# ---``."""
    Image.fromarray(data.coffee()).save(folder / "coffee.png")
    found = []
    for side in ("there", "here"):
        file = SNIPPETS / package / f"{side}.py"
        names = {line.split(" = ")[0] for line in file.read_text().partition("# ---\n")[2].splitlines()}
        with torch.random.fork_rng(devices=[]):
            ran = runpy.run_path(str(file))
        found.append({name: value for name, value in ran.items() if name in names})
    there, here = found
    assert list(there) == list(here)
    assert len(there) >= 4
    return there, here


def near(name: str, ours: Tensor, theirs: Tensor, share: float) -> None:
    assert ours.shape == theirs.shape, name
    largest = theirs.abs().max()
    assert largest > 0, f"{name}: nothing is compared"
    assert (ours - theirs).abs().max() <= share * largest, name


def test_captum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("captum", reason="captum is not installed (the extra 'peers')")
    monkeypatch.chdir(tmp_path)
    there, here = both_sides("captum", tmp_path)
    for name, ours in here.items():
        theirs = there[name].detach()
        if name == "occlusion":  # a value a channel, all alike
            theirs = theirs[:, 0]
        near(name, ours, theirs[:, 0] if theirs.ndim > ours.ndim else theirs, 1e-4)


def test_grad_cam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (the extra 'peers')")
    monkeypatch.chdir(tmp_path)
    there, here = both_sides("grad-cam", tmp_path)
    for name, ours in here.items():
        enlarged = scaled(upsample(scaled(ours), (64, 64)))
        near(name, enlarged, torch.from_numpy(np.asarray(there[name])), 1e-4)


def scaled(maps: Tensor) -> Tensor:
    """Of one image, to [0, 1]."""
    return (maps - maps.min()) / (maps.max() - maps.min())
