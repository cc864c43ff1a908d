"""Sheets of pictures. Oracles: ``visualize`` with each value by itself, plain passes of the finished pictures, the
order in which the layers run, hand-picked numbers."""

import math

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.pixel_inputs import pixel_input
from convscope.optimised import interrupted, picture_variants
from convscope.optimised.picture_sheets import both, hierarchy, sweep, variants
from convscope.optimised.picture_targets import targets_found
from convscope.synthesis import objectives
from convscope.synthesis.steadiness import steady
from tests import friendly, nets
from tests.kept_in_memory import Store
from tests.nets.aliasing import odd_layers

QUICK = {"steps": 4}


def network(factory=nets.plain, **options) -> cs.Network:
    return friendly.network(factory, **{"dtype": torch.float64} | options)


# ---- sweep ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"), [("tv", [0, 0.5, 50]), ("image", ["fourier", "pixels"]), ("seed", [0, 1]), ("steps", [1, 3])]
)
def test_a_column_is_what_visualize_makes_with_that_value(name: str, values: list) -> None:
    net, options = network(), ({} if name == "steps" else QUICK)
    found = sweep(net, ["conv2:3", "Lion"], name, values, **options)
    assert found.targets == ("conv2:3", "Lion")
    for value, column in zip(values, found.columns, strict=True):
        alone = cs.visualize(net, ["conv2:3", "Lion"], **{name: value}, **options)
        assert torch.equal(column.values, alone.values)
    assert found.picture().width > 500
    assert all(str(value) in " ".join(found.facts()[target] for target in found.targets) for value in values)


def test_the_best_of_a_row_is_the_steadiest_by_plain_passes() -> None:
    net, values = network(), [0.01, 0.05, 0.3, 1.0]
    found = sweep(net, ["conv2:3", "Lion"], "rate", values, **QUICK)
    worst = []
    for column in found.columns:
        moved = [pixel_input(net)(one) for one in list(steady(column.values.double()).values())[1:]]
        with torch.no_grad():
            unit = [float(net.module[:4](x)[0, 3].mean()) for x in moved]
            lion = [float(net.module(x)[1].softmax(0)[2]) for x in moved]
        worst.append((min(unit), min(lion)))
    assert found.best == tuple(int(np.argmax([each[row] for each in worst])) for row in (0, 1))
    assert len(set(found.best)) + len(set(worst)) > 2  # they do differ
    assert found.as_json()["best"] == dict(zip(found.targets, found.best, strict=True))


def test_the_best_tile_alone_is_marked() -> None:
    found = sweep(network(), ["conv2:3"], "rate", [0.01, 1.0], **QUICK)
    page = np.asarray(found.picture())
    green = (page == (0x0B, 0x6E, 0x4F)).all(2)
    columns = np.flatnonzero(green.any(0))
    left, right = columns.min(), columns.max()
    assert right - left < page.shape[1] / 2
    assert (left > page.shape[1] / 2) == (found.best[0] == 1)


def test_sizes_may_be_swept() -> None:
    found = sweep(network(), ["conv2:3"], "size", [12, 16], **QUICK)
    assert [column.values.shape[2:] for column in found.columns] == [(12, 12), (16, 16)]
    assert found.arrays()["size 16 values"].shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("name", "values", "options", "message"),
    [
        ("tv", [], {}, "give one value or several"),
        ("tv", [1, 1], {}, "different"),
        ("tv", [1, -1], {}, "tv -1"),
        ("tvv", [1], {}, "did you mean 'tv'"),
        ("tv", [1], {"tv": 2}, "is swept"),
        ("size", [12, 1], {}, "cannot take an input"),
        ("rate", [0.1], {"batch": 0}, "batch"),
    ],
)
def test_sweeps_that_cannot_be_are_refused_before_the_first_step(name, values, options, message) -> None:
    steps: list[int] = []
    with pytest.raises(ConvscopeError, match=message):
        sweep(network(), "conv2:3", name, values, on_step=lambda done, _: steps.append(done), **options)
    assert steps == []


def test_the_steps_of_all_columns_are_counted_and_an_interrupted_sweep_shows_what_is_ready() -> None:
    net, steps = network(), []
    whole = sweep(net, ["conv2:3", "Lion"], "tv", [0, 1], on_step=lambda *done: steps.append(done), **QUICK)
    assert sorted(set(steps)) == [(i, 16) for i in range(1, 17)]
    store = Store(12)  # five states a picture: in the third of four
    with pytest.raises(interrupted.Interrupted) as stopped:
        sweep(net, ["conv2:3", "Lion"], "tv", [0, 1], keeper=store, **QUICK)
    ready = stopped.value.ready
    assert [column.names for column in ready.columns] == [("conv2:3", "Lion")]
    assert stopped.value.missing == ("conv2:3 at 1", "Lion at 1")
    assert ready.picture().width > 500
    store.left = math.inf
    again = sweep(net, ["conv2:3", "Lion"], "tv", [0, 1], keeper=store, **QUICK)
    assert all(torch.equal(a.values, b.values) for a, b in zip(again.columns, whole.columns, strict=True))


# ---- hierarchy -----------------------------------------------------------------------------------------------


def test_rows_are_layers_in_the_order_in_which_they_run_with_units_spread_evenly() -> None:
    found = hierarchy(network(), ["conv2", "linear1:3,5", "conv1"], per_layer=4, **QUICK)
    assert found.layers == ("conv1", "conv2", "linear1")
    assert [one.name for one in found.row("conv2")] == ["conv2:1", "conv2:3", "conv2:5", "conv2:7"]
    assert [one.name for one in found.row("conv1")] == ["conv1:0", "conv1:2", "conv1:3", "conv1:5"]
    assert [one.name for one in found.row("linear1")] == ["linear1:3", "linear1:5"]
    assert found.sees == {"conv1": "sees 3 px", "conv2": "sees 8 px"}
    assert found.picture().width > 500
    assert found.arrays()["values"].shape[0] == 10
    assert [row["layer"] for row in found.as_json()] == list(found.layers)


def test_a_layer_of_fewer_units_gives_all_and_pictures_are_those_of_visualize() -> None:
    net = network()
    found = hierarchy(net, ["linear2", "conv1"], per_layer=8, **QUICK)
    assert [one.name for one in found.row("linear2")] == [f"linear2:{i}" for i in range(5)]
    alone = cs.visualize(net, "conv1:2", **QUICK)
    picture = next(one for one in found.row("conv1") if one.name == "conv1:2")
    assert (picture.values - alone.values[0]).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("layers", "per_layer", "message"),
    [
        ([], 8, "list of layers"),
        (["conv2"], 0, "at least 1"),
        (["conv3"], 8, "did you mean"),
        (["conv2:9"], 8, "8 units"),
    ],
)
def test_hierarchies_that_cannot_be_are_refused(layers, per_layer: int, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        hierarchy(network(), layers, per_layer)


def test_a_reused_layer_is_its_first_call_unless_another_is_named() -> None:
    net = network(nets.reused_relu)
    assert [one.name for one in hierarchy(net, ["rectify"], 1, **QUICK).made.pictures] == ["rectify:3"]
    found = hierarchy(net, ["rectify#3", "rectify#2"], 1, **QUICK)
    assert found.layers == ("rectify#2", "rectify#3")
    assert [one.name for one in found.made.pictures] == ["rectify#2:4", "rectify#3:8"]


@pytest.mark.parametrize("name", ["pair", "unused"])
def test_layers_without_units_are_refused(name: str) -> None:
    net = network(odd_layers if name == "pair" else nets.unused_layer)
    with pytest.raises(ConvscopeError, match=name):
        hierarchy(net, ["conv1", name], 2)


# ---- both ----------------------------------------------------------------------------------------------------


def test_both_is_the_sum_and_is_read_as_each() -> None:
    net = network()
    found = both(net, [("Lion", "tabby"), ("conv2:3", "Lion")], **QUICK)
    assert found.pairs == (("Lion", "tabby"), ("conv2:3", "Lion"))
    together = cs.visualize(net, objectives.logit(2) + objectives.logit(0), **QUICK)
    picture = found.alone("Lion & tabby")
    assert picture is not None
    assert (picture.values - together.values[0]).abs().max() < 1e-6
    with torch.no_grad():
        logits = net.module(pixel_input(net)(picture.values.double()[None]))[0]
    assert found.arrays()["pair_scores"][0] == pytest.approx(logits[[2, 0]].numpy(), rel=1e-4)
    assert found.arrays()["pair_probabilities"][0] == pytest.approx(logits.softmax(0)[[2, 0]].numpy(), rel=1e-4)
    assert found.picture().width > 500
    assert found.as_json()["pairs"][1]["pair"] == ["conv2:3", "Lion"]


def test_one_pair_and_pairs_without_each_alone() -> None:
    net = network()
    assert both(net, ("Lion", 0), **QUICK).pairs == (("Lion", "tabby"),)
    found = both(net, [("Lion", 0)], alone=False, **QUICK)
    assert found.made.names == ("Lion & tabby",)
    assert found.alone("Lion") is None
    assert found.picture().width > 500


def test_a_pair_of_one_and_the_same_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="two different"):
        both(network(), [("Lion", "tabby"), ("Lion", "lion")], **QUICK)


# ---- variants ------------------------------------------------------------------------------------------------


def test_variants_climb_the_score_and_their_unlikeness_by_its_size() -> None:
    """By hand: s + d |s| D, where |s| does not climb itself."""
    net = network()
    targets = targets_found(net, ["conv2:3", "Lion"], nets.images(1))
    x = nets.images(2).requires_grad_()
    maps, logits = net.module[:4](x), net.module(x)
    s = torch.stack([maps[0, 3].mean(), logits[1, 2]])
    grams = [one.flatten(1) @ one.flatten(1).T for one in maps]
    alike = (grams[0] * grams[1]).sum() / (grams[0].norm() * grams[1].norm())
    expected = s - 2 * s.detach().abs() * alike
    score = objectives.evaluate(net.module, picture_variants.kept_apart(targets, layer="conv2", weight=2.0), x)
    assert torch.allclose(score, expected)
    gradients = [torch.autograd.grad(each.sum(), x)[0] for each in (score, expected)]
    assert torch.allclose(*gradients)


def test_variants_differ_and_are_scored_without_their_unlikeness() -> None:
    net = network()
    found = variants(net, "conv2:3", 3, diversity=2.0, **QUICK)
    assert found.layer == "conv2"
    assert found.made.names == ("conv2:3 (1)", "conv2:3 (2)", "conv2:3 (3)")
    values = found.made.values
    assert min(float((values[i] - values[j]).abs().max()) for i, j in ((0, 1), (0, 2), (1, 2))) > 0.01
    with torch.no_grad():
        scores = net.module[:4](pixel_input(net)(values.double()))[:, 3].mean((1, 2))
    assert torch.allclose(found.made.scores.double(), scores, rtol=1e-4)  # the unit's own, without the unlikeness


def test_unlikeness_makes_them_less_alike_and_none_is_single_runs_from_own_starts() -> None:
    net = network()

    def likeness(found) -> float:
        with torch.no_grad():
            maps = net.module[:4](pixel_input(net)(found.made.values.double())).flatten(2)
        grams = torch.nn.functional.normalize((maps @ maps.mT).flatten(1), dim=1)
        return float((grams @ grams.mT).sum() - 3)

    alike, apart = (variants(net, "conv2:3", 3, diversity=d, steps=12) for d in (0.0, 5.0))
    assert likeness(apart) < likeness(alike)
    still = {"noise": 0, "jitter": 0, "rotate": 0, "scale": (1.0, 1.0), "steps": 12}  # moves are drawn after the starts
    two, three = (variants(net, "conv2:3", n, diversity=0.0, **still).made.values for n in (2, 3))
    assert (two - three[:2]).abs().max() < 1e-6


def test_classes_are_kept_unlike_at_the_last_map() -> None:
    found = variants(network(), "Lion", 2, **QUICK)
    assert found.layer == "relu2"
    assert found.made.pictures[0].probabilities is not None
    assert found.picture().width > 500


@pytest.mark.parametrize(
    ("target", "n", "options", "message"),
    [
        ("conv2:3", 1, {}, "from 2 on"),
        ("conv2:3", 5, {"batch": 4}, "at most the 4"),
        ("conv2:0-2", 3, {}, "one target"),
        ("conv2:3", 3, {"diversity": -1.0}, "from 0 on"),
    ],
)
def test_variants_that_cannot_be_are_refused(target, n: int, options, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        variants(network(), target, n, **options)
