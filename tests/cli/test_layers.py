"""``convscope layers``."""

import json

import pytest
import torch

import convscope as cs
from convscope.network.listing import describe_layers, example_input


def test_json_is_exactly_the_contract(cli, net: str) -> None:
    """Oracle: the closed forms of a 3x3 and a linear layer at 16 x 16."""
    found = json.loads(cli("layers", "--model", net, "--json").stdout)
    assert [row["name"] for row in found] == ["0", "1", "2", "3", "4", "5", "6"]
    assert all(set(row) == {"name", "type", "shape", "parameters", "macs", "receptive_field"} for row in found)
    assert found[2] == {
        "name": "2",
        "type": "Conv2d",
        "shape": [8, 16, 16],
        "parameters": 8 * 6 * 9 + 8,
        "macs": 256 * 8 * 6 * 9,
        "receptive_field": {"size": [5, 5], "stride": [1, 1]},
    }
    assert (found[6]["macs"], found[6]["parameters"], found[6]["receptive_field"]) == (32, 32, None)


def test_the_table_has_every_row_and_the_totals(cli) -> None:
    """Of the bundled network, the default; oracle: the listing of the loaded network."""
    with torch.random.fork_rng(devices=[]):
        net = cs.load()
    found = describe_layers(net.module, example_input(net))
    title, heading, *lines = cli("layers").stdout.splitlines()
    assert title == "bundled:tiny50"
    assert heading.split()[:2] == ["layer", "type"]
    assert [line.split()[0] for line in lines[:-2]] == [row.name for row in found.layers]
    row = next(line for line in lines if line.startswith("features.2 "))
    assert row.split() == ["features.2", "Conv2d", "32", "x", "64", "x", "64", "9,248", "37,748,736", "5", "1"]
    total = sum(p.numel() for p in net.module.parameters())
    assert lines[-1] == f"{len(found.layers)} layers, {total:,} parameters, {found.macs:,} multiply-adds an image"


def test_inside_shows_one_part_with_its_own_totals(cli) -> None:
    lines = cli("layers", "--inside", "features").stdout.splitlines()
    assert len(lines) == 1 + 1 + 20 + 2
    assert lines[-3].split()[:2] == ["features", "Sequential"]
    assert lines[-1].endswith("1,172,256 parameters, 211,156,992 multiply-adds an image")
    single = json.loads(cli("layers", "--inside", "features.2", "--json").stdout)
    assert [row["name"] for row in single] == ["features.2"]


def test_torchvisions_networks_are_listed_without_their_weights(cli) -> None:
    """No download: the structure is the same. A reused ReLU has its calls."""
    found = json.loads(cli("layers", "--model", "torchvision:resnet18", "--size", 64, "--json").stdout)
    names = [row["name"] for row in found]
    assert {"layer1.0.relu#1", "layer1.0.relu#2", "layer4.1"} <= set(names)
    assert sum(row["parameters"] for row in found if row["name"] in ("conv1", "bn1", "layer1", "layer2", "layer3",
               "layer4", "fc")) == 11_689_512  # fmt: skip
    assert (
        "torchvision:resnet18 (random weights)"
        in cli("layers", "--model", "torchvision:resnet18", "--size", 32, "--inside", "conv1").stdout
    )


def test_a_users_network_keeps_its_own_weights_and_name(cli, net: str) -> None:
    assert cli("layers", "--model", net).stdout.startswith(f"{net}\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--inside", "featurs"), "no layer 'featurs' in Tiny50; did you mean 'features'"),
        (("--size", "4"), "bundled:tiny50 cannot take an input of 3 x 4 x 4"),
        (("--model", "tiny50"), "no model 'tiny50'; did you mean 'bundled:tiny50'"),
        (("--mean", "a"), "--mean 'a': give numbers"),
    ],
)
def test_refusals(cli, args: tuple[str, ...], message: str) -> None:
    result = cli("layers", *args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"convscope: {message}")
    assert result.stderr.count("\n") == 1


def test_a_network_that_does_not_take_the_size_is_refused_not_a_crash(cli, net: str) -> None:
    """Its linear layer fits 16 x 16 only."""
    result = cli("layers", "--model", net.replace(":make", ":only_16_px"), "--size", 20, code=2)
    assert "only_16_px cannot take an input of 3 x 20 x 20: " in result.stderr
