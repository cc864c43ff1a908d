"""Pictures of units and classes. Oracles: the driver's single run, plain passes of the finished picture, invariance
under the batch and under what else is asked, a run without a break."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.network.pixel_inputs import pixel_input
from convscope.network.targets import Unit
from convscope.optimised import interrupted, unit_pictures
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_cells import below_of, recipe_words
from convscope.seeds import seeded
from convscope.synthesis import objectives
from convscope.synthesis.maximisation import maximise
from convscope.synthesis.recipes import PLAIN, Recipe
from convscope.synthesis.steadiness import steady
from tests import friendly, nets
from tests.kept_in_memory import Store
from tests.untouched import watch

ASKED = ["conv2:3", "relu1:1", "Lion", "conv2:5", "linear1:2", "conv2:0@2,1", "conv1"]
QUICK = {"steps": 5}
MIXED = 0.2 * objectives.unit("conv1:1") + objectives.logit(0)


def network(factory=nets.plain, **options) -> cs.Network:
    return friendly.network(factory, **{"dtype": torch.float64} | options)


def shown(net: cs.Network, picture: Tensor) -> Tensor:
    """The network's input of one picture."""
    return pixel_input(net)(picture.double()[None])


def output(net: cs.Network, layer: str, x: Tensor) -> Tensor:
    """By running an ``nn.Sequential`` as far as the layer."""
    for name, module in net.module.named_children():
        x = module(x)
        if name == layer:
            return x
    raise AssertionError(layer)


# ---- the pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 4, 16])
def test_a_picture_depends_neither_on_the_batch_nor_on_what_else_is_asked(batch: int) -> None:
    net = network()
    found = cs.visualize(net, ASKED, batch=batch, **QUICK)
    assert found.names == tuple(ASKED)
    for name, values in zip(ASKED, found.values, strict=True):
        alone = cs.visualize(net, name, **QUICK)
        assert (values - alone.values[0]).abs().max() < 1e-6
        assert torch.allclose(alone.scores, found.scores[found.names.index(name)], rtol=1e-6)


def test_float32_batches_agree_within_rounding() -> None:
    net = network(dtype=torch.float32)
    one, four = (cs.visualize(net, "conv2:0-3", batch=batch, **QUICK) for batch in (1, 4))
    assert (one.values - four.values).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("asked", "objective"),
    [
        ("conv2:3", objectives.unit("conv2:3")),
        ("conv2:3@1,2", objectives.neuron("conv2:3@1,2")),
        ("conv2", objectives.layer("conv2")),
        ("lion", objectives.logit(2)),
        (2, objectives.logit(2)),
        (Unit("linear1", 4), objectives.unit("linear1:4")),
        (
            0.2 * objectives.unit("conv1:1") + objectives.logit(0),
            0.2 * objectives.unit("conv1:1") + objectives.logit(0),
        ),
    ],
)
def test_a_picture_is_the_last_step_of_the_single_run(asked, objective) -> None:
    net = network()
    recipe = Recipe(steps=4, tv=0.5, image="pixels")
    *_, last = maximise(
        net.module, objective, b=1, c=3, size=(12, 12), to_input=pixel_input(net), recipe=recipe,
        generator=seeded(7), dtype=torch.float64,
    )  # fmt: skip
    found = cs.visualize(net, asked, seed=7, recipe=recipe)
    assert torch.equal(found.values, last.image.float())
    assert torch.allclose(found.scores, last.scores.float())


def test_size_seed_and_fields_of_the_recipe_reach_the_ascent() -> None:
    net = network()
    found = cs.visualize(net, "conv2:3", size=(10, 14), tv=0.5, **QUICK)
    assert found.values.shape == (1, 3, 10, 14)
    assert (found.recipe.tv, found.recipe.steps) == (0.5, 5)
    assert not torch.equal(
        cs.visualize(net, "conv2:3", seed=1, **QUICK).values, cs.visualize(net, "conv2:3", **QUICK).values
    )
    assert cs.visualize(net, "conv2:3", recipe=PLAIN, steps=2).recipe == PLAIN.changed(steps=2)


def test_ranges_and_all_are_a_picture_each_and_nothing_is_made_twice() -> None:
    found = cs.visualize(network(), ["conv2:0-2,5", "conv2:1", "linear2:all", "lion", "Lion"], steps=1)
    assert found.names == (*(f"conv2:{i}" for i in (0, 1, 2, 5)), *(f"linear2:{i}" for i in range(5)), "Lion")


def test_passes_end_at_the_last_needed_layer() -> None:
    """Each picture's own: those of ``conv1`` do not run ``conv2``, whatever else is asked for."""
    net, ran = network(), []
    counts = []
    with net.module.conv2.register_forward_hook(lambda _module, given, _output: ran.append(len(given[0]))):
        for asked in (["conv2:1"], ["conv1:0", "conv2:1", "conv1:3"]):
            ran.clear()
            cs.visualize(net, asked, **QUICK)
            counts.append(sum(ran))
    assert counts[0] == counts[1] > 5
    with net.module.linear1.register_forward_hook(lambda *_: ran.append("too far")):
        cs.visualize(net, ["conv1:0", "conv2:1"], **QUICK)
    assert "too far" not in ran


@pytest.mark.parametrize(
    ("factory", "channels"), [(nets.grey, 1), (nets.four_channel, 4), (nets.inplace_relu, 3), (nets.functional_relu, 3)]
)
def test_other_channels_and_rectifiers(factory, channels: int) -> None:
    numbers = (0.5,) * channels
    preprocess = cs.Preprocess(size=12, crop=12, mean=numbers, std=numbers)
    found = cs.visualize(network(factory, preprocess=preprocess), ["conv2:1", "lion"], steps=3)
    assert found.values.shape == (2, channels, 12, 12)
    assert found.picture().size[0] > 500
    assert float(found.values.min()) >= 0
    assert float(found.values.max()) <= 1


# ---- what they reach -----------------------------------------------------------------------------------------


def test_scores_peaks_and_probabilities_are_those_of_plain_passes_of_the_picture() -> None:
    net = network()
    found = cs.visualize(net, ASKED, **QUICK)
    with torch.no_grad():
        for i, name in enumerate(ASKED):
            views = [shown(net, moved[0]) for moved in steady(found.values[i][None].double()).values()]
            layer = name.split(":")[0] if name != "Lion" else "linear2"
            outputs = [output(net, layer, x)[0] for x in views]
            if name == "Lion":
                expected = [float(each[2]) for each in outputs]
                p = [float(each.softmax(0)[2]) for each in outputs]
                assert found.probabilities[i].tolist() == pytest.approx(p, rel=1e-4)
                assert found.pictures[i].odds == pytest.approx([math.log(q / (1 - q)) for q in p], rel=1e-3)
            elif ":" not in name:
                expected = [float(each.mean()) for each in outputs]
            elif "@" in name:
                expected = [float(each[0, 2, 1]) for each in outputs]
            else:
                values = [each[int(name.split(":")[1])] for each in outputs]
                expected = [float(each.mean()) for each in values]
                assert found.peaks[i] == pytest.approx(float(values[0].max()), rel=1e-4)
            picture = found.pictures[i]
            assert [picture.score, *picture.moved_scores] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert torch.isnan(found.probabilities[0]).all()
    assert torch.isnan(found.peaks[2])


def test_steadiness_is_the_worse_of_the_two_moves() -> None:
    found = cs.visualize(network(), ["conv2:3", "Lion"], **QUICK)
    unit, lion = found.pictures
    assert unit.steadiness == min(unit.moved_scores)
    assert lion.odds is not None
    assert lion.steadiness == min(lion.odds[1:])


def test_the_share_of_the_strongest_activation_over_data_is_shown() -> None:
    found = cs.visualize(network(), ["conv2:3", "conv2:4"], strongest={"conv2:3": 2.0}, steps=3)
    first, second = found.as_json()
    assert first["share_of_strongest"] == pytest.approx(float(found.peaks[0]) / 2)
    assert "share_of_strongest" not in second


# ---- dead units ----------------------------------------------------------------------------------------------


def half_dead() -> nn.Module:
    """Unit 0 is below zero whatever it is shown; unit 1 is not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight[0] = 0
        net[0].bias[0] = -1
    return watch(net.eval())


def test_a_unit_that_never_fires_is_marked_and_its_tile_is_no_picture() -> None:
    net = cs.Network(half_dead(), friendly.PREPROCESS, ("a", "b"), "half dead")
    found = cs.visualize(net, ["1:0", "1:1", "0:0"], steps=20)
    assert found.dead == ("1:0",)  # 0:0 is below zero, but says something
    assert found.scores[0] == 0
    assert found.facts()["never fires"] == "1:0"
    assert found.as_json()[0]["dead"]
    assert "1 never fired" in found.how


def test_what_fired_once_and_is_zero_in_the_end_is_not_dead_also_after_a_break() -> None:
    net, store = cs.Network(half_dead(), friendly.PREPROCESS, ("a", "b"), "half dead"), Store(8)
    least = -objectives.unit("1:1")
    options = {"recipe": PLAIN, "steps": 12, "rate": 2.0, "settle": 0.0, "noise": 0, "keeper": store}
    with pytest.raises(interrupted.Interrupted):
        cs.visualize(net, least, **options)
    store.left = math.inf
    found = cs.visualize(net, least, **options)
    assert found.scores.tolist() == [0]
    assert found.dead == ()


# ---- shown and saved -----------------------------------------------------------------------------------------


def test_saved_arrays_are_the_raw_values(tmp_path) -> None:
    found = cs.visualize(network(), ["conv2:3", "Lion"], alpha=True, **QUICK)
    with np.load(found.save(tmp_path / "pictures.npz")) as saved:
        assert np.array_equal(saved["values"], found.values.numpy())
        assert np.array_equal(saved["scores"], found.scores.numpy())
        assert np.array_equal(saved["probabilities"], found.probabilities.numpy(), equal_nan=True)
        assert saved["names"].tolist() == ["conv2:3", "Lion"]
        assert saved["alpha"].shape == (2, 1, 12, 12)
    page = found.save(tmp_path / "pictures.html").read_text()
    assert "not what the unit sees in photos" in page
    assert found.stamp.seed == 0


def test_where_there_is_no_room_for_three_probabilities_the_worse_of_the_moves_stands() -> None:
    picture = Picture("Lion", "class", torch.zeros(3, 2, 2), 4.0, (3.0, 2.0), probabilities=(0.9, 0.7, 0.25))
    assert below_of(picture, {}, is_narrow=True) == ("90.0%, logit 4", "moved 25.0%")
    assert below_of(picture, {}) == ("90.0%, logit 4", "shifted 70.0%, turned 25.0%")


def test_small_pictures_show_their_pixels() -> None:
    found = cs.visualize(network(), "conv2:3", steps=1)
    page = np.asarray(found.picture()).astype(int)
    expected = (found.values[0] * 255).double().round().numpy().transpose(1, 2, 0).astype(int)
    times = round(unit_pictures.layout_of(1)[1] * 2 / 12)
    wanted = expected.repeat(times, 0).repeat(times, 1)
    places = np.argwhere((page == wanted[0, 0]).all(2))
    side = 12 * times
    assert any(np.array_equal(page[y : y + side, x : x + side], wanted) for y, x in places)


def test_pictures_are_drawn_at_every_count(tmp_path) -> None:
    one = cs.visualize(network(), "conv2:3", steps=1).pictures[0]
    recipe, stamp = Recipe(), cs.visualize(network(), "conv2:3", steps=1).stamp
    for count in (1, 5, 6, 13, 30, 70, 300):
        sheet = cs.Pictures((one,) * count, recipe, stamp).picture()
        assert isinstance(sheet, Image.Image)
        assert sheet.width < 4200


def test_a_plain_recipe_is_called_so_and_only_what_is_added_is_listed() -> None:
    assert recipe_words(Recipe()) == "natural image, 160 steps"
    assert recipe_words(PLAIN) == "pixels image, 160 steps, plain"
    assert recipe_words(PLAIN.changed(tv=0.5)) == "pixels image, 160 steps, plain, tv 0.5"
    assert recipe_words(PLAIN.changed(tv=0.5), but=["tv"]) == "pixels image, 160 steps, plain"
    assert recipe_words(Recipe(jitter=0, tv=2)) == "natural image, 160 steps, jitter 0, tv 2"
