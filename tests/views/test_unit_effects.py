"""``cs.ablate``: before and after as ``predict`` and the network with its layer's output changed say."""

import inspect
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.attribution import ablated, unit_activations, unit_importance, unit_means
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from convscope.render.chart import value_bars
from convscope.views import ablation_sheet
from convscope.views.ablation_sheet import MOST_MAPS, charted_classes
from convscope.views.reference_photos import ReferencePhotos
from convscope.views.unit_effects import check_request
from convscope.views.unit_names import in_words, layer_of, units_named
from tests import friendly, nets
from tests.untouched import watch

PHOTO = friendly.photo()
OTHERS = [friendly.photo(seed=seed) for seed in range(1, 6)]


def input_of(net: cs.Network, *photos: Image.Image) -> torch.Tensor:
    return torch.cat([net.input_of(cs.read_image(photo)) for photo in photos])


def folder_of(tmp_path: Path, photos: Sequence[Image.Image]) -> Path:
    for number, photo in enumerate(photos):
        photo.save(tmp_path / f"{number}.png")
    return tmp_path


# ---- before and after ----


def test_before_is_predict_and_after_is_the_network_without_the_unit() -> None:
    net = friendly.network()
    found = cs.ablate(net, PHOTO, ["relu2:3"])
    seen = cs.predict(net, PHOTO)
    logits = ablated(net.module, input_of(net, PHOTO), ["relu2:3"])[0]
    assert found.before == seen
    assert torch.equal(found.before.logits, seen.logits)
    assert torch.equal(found.after.logits, logits)
    assert [p for _, p in found.after] == sorted(logits.softmax(0).tolist(), reverse=True)
    assert found.target == seen[0][0]
    assert found.drop == float(seen.logits[seen.indices[0]] - logits[seen.indices[0]])


def test_gap_and_linear_drop_by_weight_times_mean_activation() -> None:
    """Closed form, for each class that may be followed."""
    net = friendly.network()
    weights = net.module.get_submodule("linear").weight.detach()
    (said,) = unit_activations(net.module, input_of(net, PHOTO), ["relu2:5"]).values()
    for number, name in enumerate(("tabby", "king penguin", "lion")):
        found = cs.ablate(net, PHOTO, "relu2:5", target=name)
        assert found.drop == pytest.approx(float(weights[number, 5] * said.mean()), abs=1e-6)
        assert found.target_index == number
        (values,) = found.maps.values()
        assert torch.equal(values, said[0])


def test_several_units_of_several_layers_in_one_pass() -> None:
    net = friendly.network(nets.plain)
    found = cs.ablate(net, PHOTO, ["conv1:0-2,4", "linear1:3", "conv2:1@2,3"])
    names = ["conv1:0", "conv1:1", "conv1:2", "conv1:4", "linear1:3", "conv2:1@2,3"]
    assert [str(unit) for unit in found.units] == names
    assert torch.equal(found.after.logits, ablated(net.module, input_of(net, PHOTO), names)[0])
    assert found.maps[Unit("linear1", 3)].shape == (1, 1)
    assert found.maps[Unit("conv2", 1, (2, 3))].shape == (6, 6)


def test_all_units_off_leave_the_bias() -> None:
    net = friendly.network()
    found = cs.ablate(net, PHOTO, "relu2:all")
    assert torch.allclose(found.after.logits, net.module.get_submodule("linear").bias.detach(), rtol=0, atol=1e-6)


# ---- which units ----


@pytest.mark.parametrize("target", [None, "tabby", "king penguin", "lion"])
def test_the_most_important_units_are_those_of_the_largest_importance(target: str | None) -> None:
    """By default of the last map; on GAP + linear their importance is the drop."""
    net = friendly.network()
    found = cs.ablate(net, PHOTO, most_important=True, target=target)
    index = cs.predict(net, PHOTO).indices[0] if target is None else ("tabby", "king penguin", "lion").index(target)
    importance = unit_importance(net.module, input_of(net, PHOTO), target=index, layer="relu2")[0]
    assert found.units == (Unit("relu2", int(importance.argmax())),)
    assert found.importance == (float(importance.max()),)
    assert found.drop == pytest.approx(found.importance[0], abs=1e-6)
    three = cs.ablate(net, PHOTO, most_important=True, count=3, layer="conv1", target=target)
    importance = unit_importance(net.module, input_of(net, PHOTO), target=index, layer="conv1")[0]
    assert [unit.unit for unit in three.units] == importance.argsort(descending=True)[:3].tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b:3", ["a.b:3"]),
        ("a.b:3@1,2", ["a.b:3@1,2"]),
        ("a.b:3,1,3", ["a.b:3", "a.b:1"]),
        ("a.b:1-3", ["a.b:1", "a.b:2", "a.b:3"]),
        ("a.b:0-1,3", ["a.b:0", "a.b:1", "a.b:3"]),
        ("a.b:2-2", ["a.b:2"]),
        ("a.b:all", ["a.b:0", "a.b:1", "a.b:2", "a.b:3"]),
        ("relu#2:1", ["relu#2:1"]),
    ],
)
def test_units_are_named_one_by_one_in_lists_and_in_ranges(name: str, expected: list[str]) -> None:
    assert [str(unit) for unit in units_named([name], {"a.b": 4, "relu#2": 4})] == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.b:4", r"unit 4 was asked for, but layer 'a.b' has 4 units \(0 to 3\)"),
        ("a.b:0-9999999", r"unit 9999999 was asked for, but layer 'a.b' has 4 units"),
        ("a.b:3-1", r"units of a.b '3-1': 3-1 runs backwards; give 1-3"),
        ("a.b", r"'a.b' names no unit; give LAYER:3"),
        ("a.b:", r"names no unit"),
        ("a.b:1-", r"names no unit"),
        ("a.b:-1", r"names no unit"),
        ("a.b:1;2", r"names no unit"),
        ("a.b:all,3", r"names no unit"),
    ],
)
def test_what_names_no_unit_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        units_named([name], {"a.b": 4})


def test_units_in_words_can_be_asked_for_again() -> None:
    units = units_named(["a:3,7", "b:0-4", "b:6@1,2", "a:1"], {"a": 9, "b": 9})
    assert in_words(units) == "a:3,7,1 and b:0-4 and b:6@1,2"
    again = units_named(in_words(units).split(" and "), {"a": 9, "b": 9})
    assert set(again) == set(units)
    many = [Unit("features.12", unit) for unit in range(0, 80, 2)]
    assert in_words(many) == "40 units of features.12"


# ---- mean and resample ----


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_the_mean_is_over_all_photos_of_a_folder_or_list(tmp_path: Path, batch: int) -> None:
    net = friendly.network()
    means = unit_means(net.module, [input_of(net, *OTHERS)], ["relu1"])["relu1"]
    values = {Unit("relu1", k): means[k] for k in (0, 2)}
    expected = ablated(net.module, input_of(net, PHOTO), list(values), values=values)[0]
    for data in (OTHERS, folder_of(tmp_path, OTHERS), str(tmp_path)):
        steps: list[tuple[int, int]] = []
        found = cs.ablate(
            net, PHOTO, "relu1:0,2", mode="mean", data=data, batch=batch, on_step=lambda *at, s=steps: s.append(at)
        )
        assert torch.allclose(found.after.logits, expected, rtol=0, atol=1e-6)
        assert steps[-1] == (5, 5)
        assert found.replaced_by.startswith("at the mean over 5 photos")


def test_only_the_first_of_the_photos_are_used_where_that_is_said() -> None:
    net = friendly.network()
    found = cs.ablate(net, PHOTO, "relu1:0", mode="mean", data=OTHERS, most=2)
    alone = cs.ablate(net, PHOTO, "relu1:0", mode="mean", data=OTHERS[:2])
    assert torch.equal(found.after.logits, alone.after.logits)
    assert found.replaced_by == "at the mean over the first 2 of 5 photos"


def test_one_reference_takes_its_means_once_for_all_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    net = friendly.network()
    read: list[Any] = []
    monkeypatch.setattr(
        "convscope.views.reference_photos.read_image", lambda photo: read.append(photo) or cs.read_image(photo)
    )
    reference = ReferencePhotos(net, OTHERS)
    for photo, unit in ((PHOTO, "relu1:0"), (OTHERS[0], "relu1:3"), (PHOTO, "relu2:1")):
        found = cs.ablate(net, photo, unit, mode="mean", data=reference)
        alone = cs.ablate(net, photo, unit, mode="mean", data=OTHERS)
        assert torch.equal(found.after.logits, alone.after.logits)
        assert found.stamp.data_hash == alone.stamp.data_hash
    assert len(read) == (2 + 3) * len(OTHERS)  # once for each of two layers, and each time alone


def test_photos_of_several_sizes_go_through_in_batches_of_one_size() -> None:
    net = friendly.network(preprocess=cs.Preprocess(size=12, crop=None, mean=(0.5,) * 3, std=(0.2,) * 3))
    mixed = [friendly.photo(20, 16), friendly.photo(20, 16, 1), friendly.photo(16, 20, 2), friendly.photo(20, 16, 3)]
    expected = unit_means(net.module, [input_of(net, photo) for photo in mixed], ["relu1"])["relu1"]
    assert torch.allclose(ReferencePhotos(net, mixed).means(["relu1"])["relu1"], expected, rtol=0, atol=1e-7)


def test_resample_from_one_photo_is_that_photos_activation() -> None:
    """Closed form: put in by hand. With the photo itself, the only one, nothing changes."""
    net = friendly.network()
    found = cs.ablate(net, PHOTO, ["relu1:1", "relu2:0"], mode="resample", data=[OTHERS[0]])
    values = unit_activations(net.module, input_of(net, OTHERS[0]), ["relu1:1", "relu2:0"])
    assert torch.equal(found.after.logits, ablated(net.module, input_of(net, PHOTO), list(values), values=values)[0])
    same = cs.ablate(net, PHOTO, ["relu1:1", "relu2:0"], mode="resample", data=[PHOTO])
    assert torch.allclose(same.after.logits, same.before.logits, rtol=0, atol=1e-6)


def test_the_seed_chooses_the_other_photo_and_never_the_photo_itself() -> None:
    net = friendly.network()

    def drawn(seed: int, data: list[Image.Image] = OTHERS) -> str:
        found = cs.ablate(net, PHOTO, "relu1:1", mode="resample", data=data, seed=seed)
        assert found.stamp.seed == seed
        return found.replaced_by

    assert [drawn(seed) for seed in range(8)] == [drawn(seed) for seed in range(8)]
    assert len({drawn(seed) for seed in range(20)}) == len(OTHERS)
    assert {drawn(seed, [PHOTO, OTHERS[0]]) for seed in range(8)} == {"as for photo 2, one of 2 photos"}
    assert cs.ablate(net, PHOTO, "relu1:1").stamp.seed is None


def test_resample_needs_another_photo_of_the_same_size() -> None:
    net = friendly.network(preprocess=cs.Preprocess(size=12, crop=None, mean=(0.5,) * 3, std=(0.2,) * 3))
    with pytest.raises(ConvscopeError, match="must come from an input of the same size"):
        cs.ablate(net, friendly.photo(20, 16), "relu1:1", mode="resample", data=[friendly.photo(16, 20)])


# ---- what does not go together ----


def test_what_is_no_name_of_a_unit_is_refused() -> None:
    for given, message in ((3, "units=3: give a name"), (Unit("relu1", 3), "units=Unit.*: give a name")):
        with pytest.raises(ConvscopeError, match=message):
            inspect.unwrap(check_request)(given)  # the type check of the tests would refuse it first
    for given in (3, None, 2.5):
        with pytest.raises(ConvscopeError, match=f"{given} names no unit; give LAYER:3"):
            inspect.unwrap(layer_of)(given)
    with pytest.raises(ConvscopeError, match="unit -1 was asked for, but layer 'relu1' has 6"):
        cs.ablate(friendly.network(), PHOTO, [Unit("relu1", -1)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "relu1:0", "mode": "mean"}, r"mode 'mean' takes the mean from photos: give a folder .*--data"),
        ({"units": "relu1:0", "mode": "resample"}, r"mode 'resample' takes the other photo from photos"),
        ({"units": "relu1:0", "mode": "maen"}, r"no mode 'maen'; did you mean 'mean'"),
        ({"units": "relu1:0", "data": OTHERS}, r"changes nothing for mode 'zero'"),
        ({"units": "relu1:0", "mode": "mean", "data": []}, r"data=\[\] holds no photo"),
        ({"units": "relu1:0", "mode": "mean", "data": OTHERS, "most": 0}, r"most=0"),
        ({"units": "relu1:0", "mode": "mean", "data": OTHERS, "batch": 0}, r"batch=0"),
        ({"units": "relu1:0", "mode": "mean", "data": "nowhere"}, r"no folder nowhere"),
        ({}, r"which units\?"),
        ({"units": []}, r"which units\?"),
        ({"layer": "relu1"}, r"layer 'relu1' names no units: .* relu1:all \(units=\), or --most-important"),
        ({"units": "relu1:0", "most_important": True}, r"both --unit and --most-important"),
        ({"units": "relu1:0", "count": 2}, r"count belongs to the most important"),
        ({"units": "relu1:0", "layer": "relu1"}, r"layer belongs to the most important"),
        ({"most_important": True, "count": 0}, r"0 units were asked for"),
        ({"most_important": True, "count": 9}, r"9 units were asked for, but layer 'relu2' has 8"),
        ({"most_important": True, "layer": "relu9"}, r"no layer 'relu9'"),
        ({"units": "relu1:6"}, r"unit 6 was asked for, but layer 'relu1' has 6 units"),
        ({"units": "relu1:0@12,0"}, r"position 12,0 was asked for"),
        ({"units": "relu9:0"}, r"no layer 'relu9'"),
        ({"units": "relu1:0", "target": "relu2:3"}, r"follows the logit of a class"),
        ({"units": "relu1:0", "target": 5}, r"no class 5 in a small net: it has 5"),
        ({"units": "relu1:0", "target": "tigre"}, r"no class 'tigre'"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        cs.ablate(friendly.network(), PHOTO, **options)


def test_a_reference_belongs_to_one_network_and_a_broken_photo_is_named(tmp_path: Path) -> None:
    net = friendly.network()
    other = ReferencePhotos(friendly.network(name="another net"), OTHERS)
    with pytest.raises(ConvscopeError, match="another net's to refer to, not a small net's"):
        cs.ablate(net, PHOTO, "relu1:0", mode="mean", data=other)
    (folder_of(tmp_path, OTHERS) / "3.png").write_text("no picture")
    with pytest.raises(ConvscopeError, match=r"3\.png is not a picture"):
        cs.ablate(net, PHOTO, "relu1:0", mode="mean", data=tmp_path)


# ---- how it shows itself ----


@pytest.mark.parametrize(
    ("after", "said"),
    [(2.0, "3.00 → 2.00 (−1.00)"), (3.25, "3.00 → 3.25 (+0.25)"), (2.998, "(−0.002)"), (3.0, "(unchanged)")],
)
def test_the_line_says_by_how_much_the_logit_changed(after: float, said: str) -> None:
    found = cs.ablate(friendly.network(), PHOTO, "relu2:0")
    before, changed = found.before.logits.clone(), found.before.logits.clone()
    before[found.target_index], changed[found.target_index] = 3.0, after
    found = replace(found, before=replace(found.before, logits=before), after=replace(found.after, logits=changed))
    assert said in found.effect_line
    assert found.drop == pytest.approx(3.0 - after, abs=1e-6)


def test_a_batch_norm_after_the_layer_is_spoken_of_where_zero_is_not_off() -> None:
    net = friendly.network(nets.norm_dropout)
    note = cs.ablate(net, PHOTO, "conv1:0").notes
    assert len(note) == 1
    assert note[0].startswith("A batch norm follows conv1 directly")
    assert cs.ablate(net, PHOTO, "norm1:0").notes == ()
    assert cs.ablate(net, PHOTO, "conv1:0", mode="mean", data=OTHERS).notes == ()


def test_facts_and_arrays_say_what_was_done(tmp_path: Path) -> None:
    net = friendly.network()
    found = cs.ablate(net, PHOTO, "relu2:1,2")
    facts = found.facts()
    assert facts["ablation"] == "relu2:1,2 at zero"
    assert facts["effect"] == found.effect_line
    assert f"{found.probabilities[0]:.1%} → {found.probabilities[1]:.1%}" in found.effect_line
    with np.load(found.save(tmp_path / "a.npz")) as saved:
        assert set(saved) == {"before", "after", "relu2:1", "relu2:2", "about"}
        assert np.array_equal(saved["after"], found.after.logits.numpy())
        assert json.loads(str(saved["about"]))["units"] == "relu2:1, relu2:2"
    assert repr(found).startswith("relu2:1,2 at zero. ")
    assert "relu2:1,2 at zero" in found.to_html()


def test_the_charts_have_the_same_classes_in_the_same_places() -> None:
    """The first five before, then what is only among the first five after, then the target; namesakes by number."""
    names = [*(f"class {i}" for i in range(9)), "class 3"]
    stamp = cs.predict(friendly.network(), PHOTO).stamp

    def seen(order: list[int]) -> cs.Prediction:
        top = tuple((names[i], 0.1) for i in order[:5])
        logits = torch.zeros(10)
        logits[order] = torch.arange(10.0).flip(0)
        return cs.Prediction(top, logits, tuple(order[:5]), PHOTO, stamp)

    found = charted_classes(seen(list(range(10))), seen([9, 7, 0, 1, 2, 3, 4, 5, 6, 8]), ("class 5", 5))
    assert list(found) == [0, 1, 2, 3, 4, 9, 7, 5]
    assert found[3] == "class 3 (3)"
    assert found[9] == "class 3 (9)"
    assert found[5] == "class 5"


def test_the_same_axis_serves_both_charts_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def bars(rows: Any, axis: Any, **options: Any) -> Image.Image:
        drawn.append((rows, axis))
        return value_bars(rows, axis, **options)

    monkeypatch.setattr(ablation_sheet, "value_bars", bars)
    alone = cs.ablate(friendly.network(), PHOTO, "relu2:all")
    found = replace(alone, after=replace(alone.after, logits=3 * alone.after.logits))  # the longest bar comes after
    found.picture()
    (before, first), (after, second) = drawn
    assert first is second
    values = [value for rows in (before, after) for _, value in rows]
    assert (first.low, first.high) == (min([0.0, *values]), max([0.0, *values]))
    assert [name for name, _ in before] == [name for name, _ in after]
    assert [v for _, v in after] == [float(found.after.logits[i]) for i in charted(found)]


def charted(found: cs.Ablation) -> list[int]:
    return list(charted_classes(found.before, found.after, (found.target, found.target_index)))


@pytest.mark.parametrize("units", ["relu2:0", "relu2:all", "linear:1", "relu2:0@3,4", "conv1:0-5"])
def test_a_sheet_is_drawn_for_every_kind_of_unit(units: str) -> None:
    """Two rows of three, and one more for further units."""
    picture = cs.ablate(friendly.network(), PHOTO, units).picture()
    one = cs.ablate(friendly.network(), PHOTO, "relu2:0").picture()
    assert picture.width == one.width
    assert (picture.height > 1.3 * one.height) == (units in ("relu2:all", "conv1:0-5"))
    assert MOST_MAPS == 4


def test_a_unit_that_is_silent_says_so() -> None:
    net = friendly.network()
    with torch.no_grad():
        net.module.get_submodule("conv2").bias[3] = -1e3
    found = cs.ablate(cs.Network(net.module, net.preprocess, net.classes, "dead"), PHOTO, "relu2:3")
    assert found.drop == 0
    assert "unchanged" in found.effect_line
    assert math.isclose(*found.probabilities)
    assert not found.maps[Unit("relu2", 3)].any()
    assert found.picture().width > 0
    watch(net.module)  # the test itself changed it


# ---- real photos ----


def spread(shared: Path, count: int = 10) -> list[Path]:
    photos = sorted((shared / "data" / "imagenet_photos").iterdir())
    return photos[:: len(photos) // count][:count]


def test_the_most_important_unit_off_lowers_its_class_on_ten_photos(shared: Path, squeezenet: nn.Module) -> None:
    """The statement of the issue, on SqueezeNet and on the bundled network."""
    preprocess = cs.Preprocess(size=256, crop=224)
    with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
        bundled = cs.load()
    for net in (cs.load(squeezenet, preprocess=preprocess), bundled):
        photos = spread(shared)
        assert len(photos) == 10
        for photo in photos:
            found = cs.ablate(net, photo, most_important=True)
            assert found.drop > 0, photo.name
            assert found.importance[0] > 0


def test_on_squeezenet_the_drop_is_that_of_the_rectified_class_map(shared: Path, squeezenet: nn.Module) -> None:
    """Closed form of its head: mean(relu(sum_k w_k A_k + b)), with one term less."""
    net = cs.load(squeezenet, preprocess=cs.Preprocess(size=256, crop=224))
    photo = spread(shared)[2]
    found = cs.ablate(net, photo, most_important=True)
    head = squeezenet.classifier[1]
    (unit,) = found.units
    everything = [f"{unit.layer}:{k}" for k in range(512)]
    said = torch.stack([v[0] for v in unit_activations(squeezenet, input_of(net, photo), everything).values()])
    weights, bias = head.weight.detach()[found.target_index, :, 0, 0], head.bias.detach()[found.target_index]
    whole = torch.einsum("k,khw->hw", weights, said) + bias
    without = whole - weights[unit.unit] * said[unit.unit]
    assert found.drop == pytest.approx(float(whole.relu().mean() - without.relu().mean()), abs=1e-4)
