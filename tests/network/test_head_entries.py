"""A headed network as JSON. Oracles: the network itself, to the last bit; a base that is gone."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.head_entries import base_from_spec, head_on
from convscope.network.headed import HeadedNet
from convscope.network.loading import Network, load
from convscope.network.preprocessing import Preprocess
from convscope.network.trained import network_of
from convscope.store.checked_tensors import write_checked
from convscope.store.run_folder import Training, begin_training, finish_training
from tests import nets

FACTORY = """
import torch
from torch import nn
SIZE, MEAN, STD = 12, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
def net():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 8, 3), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(8, 3))
"""


@pytest.fixture
def base(tmp_path: Path) -> Network:
    """A user's network, its weights in a file."""
    (tmp_path / "own.py").write_text(FACTORY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = load(f"{tmp_path / 'own.py'}:net")
    save_file(first.module.state_dict(), tmp_path / "own.safetensors")
    with torch.random.fork_rng(devices=[]):
        return load(f"{tmp_path / 'own.py'}:net", tmp_path / "own.safetensors")


def written(folder: Path, net: HeadedNet, entry: object, preprocess: object) -> Path:
    """A finished run, as a training leaves it."""
    said = json.loads(json.dumps(entry))  # what JSON makes of it
    begin_training(folder, Training(network=said, classes=("a", "b"), preprocess=asdict(preprocess)))  # type: ignore[call-overload]
    arrays = {name: values.numpy() for name, values in net.state_dict().items()}
    write_checked(folder / "weights.safetensors", "weights", {"epoch": 1}, arrays)
    finish_training(folder)
    return folder


@pytest.mark.parametrize("kind", ["mean", "flat", "mlp"])
def test_a_run_holds_all_that_its_network_needs(base: Network, tmp_path: Path, kind: str) -> None:
    """Oracle: the network that was saved; the base's weights are gone by then."""
    net, entry = head_on(base, "2", kind, 2)
    folder = written(tmp_path / "own.run", net, entry, base.preprocess)
    (tmp_path / "own.safetensors").unlink()
    again, x = cs.load(str(folder)), nets.images().float()
    assert torch.equal(again.module(x), net(x))
    assert again.classes == ("a", "b")
    assert again.preprocess == base.preprocess


def test_a_head_on_a_headed_run_needs_no_other_run(base: Network, tmp_path: Path) -> None:
    """Oracle: the network that was saved; the run below is gone by then."""
    net, entry = head_on(base, "2", "mean", 2)
    below = written(tmp_path / "below.run", net, entry, base.preprocess)
    upper, entry = head_on(cs.load(str(below)), "base.1", "mean", 2)
    folder = written(tmp_path / "upper.run", upper, entry, base.preprocess)
    for path in below.iterdir():
        path.unlink()
    again, x = cs.load(str(folder)), nets.images().float()
    assert torch.equal(again.module(x), upper(x))
    assert entry["base"]["kind"] == "headed"


def test_without_a_layer_it_is_the_last_map() -> None:
    """Oracle: by hand: the bundled network's last ReLU."""
    net, entry = head_on(load("bundled:tiny50"), None, "mean", 2)
    assert (net.layer, entry["layer"], entry["maps"]) == ("features.18", "features.18", [256, 8, 8])


@pytest.mark.global_rng
def test_a_zoo_is_built_again_without_its_weights() -> None:
    """Oracle: the features of the network whose weights are put in; no weights are downloaded."""
    base = load("torchvision:squeezenet1_1", "random", size=64)
    net, entry = head_on(base, "features.7.expand3x3", "mean", 2)
    again = network_of(entry).eval()
    again.load_state_dict(net.state_dict())
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), net(x))
    assert not any("classifier" in name for name in net.state_dict())


def test_a_base_with_other_classes_is_built_with_them(base: Network, tmp_path: Path) -> None:
    """Oracle: the shape of the layer above all of them, which a head may well stand on."""
    with torch.random.fork_rng(devices=[]):
        five = load(f"{tmp_path / 'own.py'}:net", "random", classes=list("abcde"))
    _, entry = head_on(five, "5", "mean", 2)
    assert entry["base"]["classes"] == 5
    last = list(base_from_spec(entry["base"]).children())[-1]
    assert isinstance(last, nn.Linear)
    assert last.out_features == 5


def test_a_base_that_its_name_builds_otherwise_is_refused(tmp_path: Path) -> None:
    """Oracle: by hand: a factory that makes another network each time, as a pretrained flag may."""
    text = FACTORY.replace("def net():", "calls = 0\ndef net():\n    global calls; calls += 1")
    text = text.replace("nn.ReLU(inplace=True)", "nn.Sequential(nn.ReLU(), nn.Threshold(0.01 * calls, 0))")
    (tmp_path / "odd.py").write_text(text.replace("calls = 0", "import builtins\ncalls = getattr(builtins, 'odd', 0)"))
    import builtins

    with torch.random.fork_rng(devices=[]):
        base = load(f"{tmp_path / 'odd.py'}:net")
    builtins.odd = 40  # type: ignore[attr-defined]
    try:
        with pytest.raises(ConvscopeError, match="gives other features with them"):
            head_on(base, "2", "mean", 2)
    finally:
        del builtins.odd  # type: ignore[attr-defined]


def test_refusals(base: Network, tmp_path: Path) -> None:
    """Oracle: the words."""
    live = load(nets.plain(dtype=torch.float32), preprocess=Preprocess(12, 12))
    with pytest.raises(ConvscopeError, match="live module, which no file can build again"):
        head_on(live, "conv2", "mean", 2)
    own = load("bundled:tiny50", preprocess=_own)
    with pytest.raises(ConvscopeError, match="transform of its own that no file can hold"):
        head_on(own, None, "mean", 2)
    net, entry = head_on(base, "2", "mean", 2)
    folder = written(tmp_path / "own.run", net, entry, base.preprocess)
    (tmp_path / "own.py").unlink()
    with pytest.raises(ConvscopeError, match=r"network below the head cannot be built again.*own\.py"):
        cs.load(str(folder))


def _own(_photo: object) -> Tensor:
    return torch.zeros(1, 3, 64, 64)
