"""``convscope filters``. The pictures are proved in ``tests/views``; here it is what is written and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from tests.cli.test_explain_refusals import refused


def test_the_default_is_the_first_layer_of_the_bundled_network(cli) -> None:
    assert cli("filters").stdout == "convscope-out/tiny50.features.0.filters.png\n"
    with Image.open("convscope-out/tiny50.features.0.filters.png") as picture:
        assert json.loads(picture.text["convscope"])["model"] == "bundled:tiny50"


def test_layers_units_and_channels(cli, net: str) -> None:
    args = ("--model", net, "--layer", "0,2", "--units", "1-2", "--channels", "0,2", "--save", "npz", "--json")
    first, second = json.loads(cli("filters", *args).stdout)
    assert first["files"] == ["convscope-out/make.0.filters.units-1-2.channels-0,2.npz"]
    assert (first["units"], first["channels"], first["of"], first["kernel"]) == ([1, 2], [0, 2], [6, 3], [3, 3])
    with torch.random.fork_rng(devices=[]):
        module = cs.load(net).module
    with np.load(second["files"][0]) as saved:
        np.testing.assert_array_equal(saved["values"], module[2].weight.detach().numpy()[1:3][:, [0, 2]])


def test_torchvisions_networks_need_weights_here_and_say_random(cli) -> None:
    """Random filters are drawn only where they are asked for; the file is called as the network."""
    shown = cli("filters", "--model", "torchvision:squeezenet1_0", "--weights", "random", "--own-scale")
    assert shown.stdout == "convscope-out/squeezenet1_0.features.0.filters.own-scale.png\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--layer", "features"], "layer 'features' (Sequential) has no filters; inside it 'features.0', 'features.2'"),
        (["--layer", "classifier"], "layer 'classifier' (Linear) has no filters, its weight is 50 x 256; layers with"),
        (["--layer", "featurse.0"], "no layer 'featurse.0' in Tiny50; did you mean 'features.0'"),
        (["--layer", "features.0,features.1"], "layer 'features.1' (ReLU) has no filters"),
        (["--units", "32"], "unit 32 was asked for, but layer 'features.0' has 32 units (0 to 31)"),
        (["--channels", "3"], "input channel 3 was asked for, but layer 'features.0' has 3 input channels (0 to 2)"),
        (["--units", "x"], "--units 'x': give numbers"),
        (["--channels", "2-1"], "--channels '2-1': 2-1 runs backwards; give 1-2"),
        (["--save", "tiff"], "--save 'tiff' is none of png"),
    ],
)
def test_refusals_leave_no_files(cli, tmp_path: Path, args: list[str], message: str) -> None:
    line = refused(lambda command, *rest, code: cli("filters", *rest, code=code), tmp_path, *args)
    assert line.startswith(message)
