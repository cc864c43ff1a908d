"""Sheets: every map is what ``explain`` gives alone, scales are shared where it is said, nothing is lost or renamed."""

import dataclasses
from typing import Any

import pytest
import torch

import convscope as cs
from convscope import answers
from convscope.attribution import METHODS
from convscope.comparisons import (
    compare_layers,
    compare_methods,
    compare_models,
    compare_photos,
    compare_squares,
    compare_targets,
    one_photo,
)
from convscope.drawing import scale_for
from convscope.errors import ConvscopeError
from convscope.results import Comparison, Explanation
from convscope.wording import percent
from tests import friendly, nets

PHOTO = friendly.photo()


def assert_alone(found: Explanation, net: cs.Network, method: str, *args: Any, **options: Any) -> None:
    """Oracle: one call of ``explain``."""
    alone = cs.explain(net, PHOTO, method, *args, **options)
    assert torch.equal(found.values, alone.values)
    assert (found.method, found.target, found.layer) == (method, alone.target, alone.layer)


def scales(sheet: Comparison) -> list[tuple[float, float]]:
    """Low and high of every map's colour bar, in reading order; one where the sheet has one for all."""
    if sheet.bar is not None:
        return [(sheet.bar.scale.low, sheet.bar.scale.high)]
    return [(t.bar.scale.low, t.bar.scale.high) for row in sheet.tiles for t in row if t is not None and t.bar]


# ---- methods -------------------------------------------------------------------------------------------------


def test_all_methods_stand_on_one_sheet_each_as_alone() -> None:
    net = friendly.network()
    steps: list[str] = []
    sheet = compare_methods(net, PHOTO, step=steps.append)
    quick = [name for name, method in METHODS.items() if not method.slow]
    assert steps == list(sheet.explanations) == quick
    assert sheet.left_out == {}
    for method, found in sheet.explanations.items():
        assert_alone(found, net, method)
    assert len(sheet.tiles[0]) == len(quick) + 2
    assert sheet.title == f"Why {cs.predict(net, PHOTO)[0][0]}?"


def test_a_sheet_asks_for_the_answer_once(monkeypatch) -> None:
    """Oracle: a count of the calls."""
    asked: list[int] = []
    net, logits_of = friendly.network(), answers.input_logits
    monkeypatch.setattr(answers, "input_logits", lambda net, x: asked.append(len(x)) or logits_of(net, x))
    compare_methods(net, PHOTO, ["gradient", "cam", "occlusion"])
    assert asked == [1]
    compare_photos(net, {"a": PHOTO, "b": PHOTO}, ["gradient", "cam"])
    assert asked == [1, 1, 1]


def test_a_map_that_no_class_changes_is_not_said_to_be_of_one() -> None:
    net = friendly.network()
    found = cs.explain(net, PHOTO, "eigen-cam", 1)
    assert found.target == "any class"
    assert torch.equal(found.values, cs.explain(net, PHOTO, "eigen-cam", 2).values)
    assert compare_methods(net, PHOTO, ["eigen-cam"]).title == "What stands out, whatever the class?"
    assert compare_methods(net, PHOTO, ["eigen-cam", "cam"], target=1).title == f"Why {net.class_name(1)}?"
    with pytest.raises(ConvscopeError, match="eigen-cam gives one map for every class"):
        compare_targets(net, PHOTO, [1, 2], method="eigen-cam")


def test_methods_of_hundreds_of_passes_are_on_the_sheet_only_where_they_are_named(monkeypatch) -> None:
    slow = dataclasses.replace(METHODS["occlusion"], slow=True)
    monkeypatch.setattr(one_photo, "METHODS", {"cam": METHODS["cam"], "occlusion": slow})
    assert list(compare_methods(friendly.network(), PHOTO).explanations) == ["cam"]
    named = compare_methods(friendly.network(), PHOTO, ["occlusion", "cam"])
    assert list(named.explanations) == ["occlusion", "cam"]


def test_what_does_not_apply_is_an_empty_place_with_the_reason() -> None:
    net = friendly.network(nets.plain)
    sheet = compare_methods(net, PHOTO)
    assert list(sheet.left_out) == ["cam"]
    (tile,) = [tile for tile in sheet.tiles[0] if tile.caption == "cam"]
    assert (tile.image, tile.note, tile.warning) == (None, "does not apply", sheet.left_out["cam"])
    assert "Grad-CAM explains any head" in tile.warning
    assert sheet.facts()["left out: cam"] == sheet.left_out["cam"]
    with pytest.raises(ConvscopeError, match="CAM needs a head"):
        compare_methods(net, PHOTO, ["cam", "grad-cam"])


def test_a_sheet_without_any_map_is_refused_with_the_reasons() -> None:
    with pytest.raises(ConvscopeError, match=r"class 7 was asked for, but the network has 5 classes"):
        compare_methods(friendly.network(), PHOTO, target=7)
    with pytest.raises(ConvscopeError, match=r"no layer 'conv9'"):
        compare_methods(friendly.network(), PHOTO, target="conv9:1")


def test_on_a_sheet_of_several_the_deconvnet_shows_the_strongest_unit_alone_what_was_asked() -> None:
    net = friendly.network()
    mixed = compare_methods(net, PHOTO, ["deconvnet", "gradient"], target="lion")
    assert_alone(mixed.explanations["deconvnet"], net, "deconvnet")
    assert (mixed.explanations["gradient"].target, mixed.title) == ("Lion", "Why Lion?")
    alone = compare_methods(net, PHOTO, ["deconvnet"], target="lion")
    assert_alone(alone.explanations["deconvnet"], net, "deconvnet", "lion")
    assert alone.title == "Why Lion?"
    unit = compare_methods(net, PHOTO, ["deconvnet", "gradient"], target="conv2:3")
    assert {e.target for e in unit.explanations.values()} == {"conv2:3"}
    assert unit.title == "What drove conv2:3?"
    whole = compare_methods(net, PHOTO, ["deconvnet"], target="map", layer="conv1")
    assert_alone(whole.explanations["deconvnet"], net, "deconvnet", "map", "conv1")


def test_layer_and_options_go_to_the_methods_that_know_them() -> None:
    net = friendly.network()
    options = {"score": "probability", "size": 5, "seed": 3, "fill": "noise"}
    sheet = compare_methods(net, PHOTO, ["saliency", "grad-cam", "occlusion"], layer="conv1", options=options)
    assert_alone(sheet.explanations["saliency"], net, "saliency", score="probability")
    assert_alone(sheet.explanations["grad-cam"], net, "grad-cam", None, "conv1", score="probability")
    assert_alone(sheet.explanations["occlusion"], net, "occlusion", None, None, **options)
    assert sheet.stamp.seed == 3


def test_underscores_in_a_methods_name_change_nothing() -> None:
    net = friendly.network()
    sheet = compare_methods(net, PHOTO, ["grad_cam"], layer="conv1")
    assert_alone(sheet.explanations["grad-cam"], net, "grad-cam", None, "conv1")


def test_a_shared_scale_is_shared_by_methods_that_look_alike() -> None:
    names = ["gradient", "guided-backprop", "cam", "grad-cam"]
    sheet = compare_methods(friendly.network(), PHOTO, names, shared=True)
    gradient, guided, cam, grad_cam = scales(sheet)
    assert gradient == guided != cam == grad_cam
    own = scales(compare_methods(friendly.network(), PHOTO, names))
    assert len(set(own)) == 4


# ---- classes and units ---------------------------------------------------------------------------------------


def test_the_most_probable_classes_stand_side_by_side_on_one_scale() -> None:
    net = friendly.network()
    seen = cs.predict(net, PHOTO, k=3)
    sheet = compare_targets(net, PHOTO, most=3, method="cam")
    assert [e.target for e in sheet.explanations.values()] == [name for name, _ in seen]
    for index, found in zip(seen.indices, sheet.explanations.values(), strict=True):
        assert_alone(found, net, "cam", index)
    shared = scale_for("cam", [e.values for e in sheet.explanations.values()])
    assert scales(sheet) == [(shared.low, shared.high)]
    assert [tile.note for tile in sheet.tiles[0][1:]] == [percent(p) for _, p in seen]
    assert len(set(scales(compare_targets(net, PHOTO, most=3, method="cam", shared=False)))) == 3


def test_two_classes_of_one_name_keep_both_maps_and_their_own_probabilities() -> None:
    net = friendly.network()
    sheet = compare_targets(net, PHOTO, [3, 4])
    assert list(sheet.explanations) == ["crane", "crane (2)"]
    for index, found in zip((3, 4), sheet.explanations.values(), strict=True):
        assert_alone(found, net, "grad-cam", index)
    probabilities = cs.predict(net, PHOTO).logits.softmax(0)
    assert [tile.note for tile in sheet.tiles[0][1:]] == [percent(float(probabilities[i])) for i in (3, 4)]
    assert [tile.caption for tile in sheet.tiles[0][1:]] == ["crane", "crane (2)"]


def test_two_classes_are_set_against_each_other() -> None:
    sheet = compare_targets(friendly.network(), PHOTO, ["tabby", "lion"])
    assert sheet.title == "tabby against Lion"
    assert sheet.bar is not None


def test_every_class_is_explained_by_the_deconvnet_as_asked_and_units_have_no_probability() -> None:
    net = friendly.network()
    sheet = compare_targets(net, PHOTO, ["tabby", "lion", "conv2:1"], method="deconvnet")
    for target, found in zip(("tabby", "lion", "conv2:1"), sheet.explanations.values(), strict=True):
        assert_alone(found, net, "deconvnet", target)
    assert [bool(tile.note) for tile in sheet.tiles[0][1:]] == [True, True, False]
    units = compare_targets(net, PHOTO, ["1", "2"], method="deconvnet", layer="conv2")
    assert list(units.explanations) == ["conv2:1", "conv2:2"]
    assert {tile.note for tile in units.tiles[0][1:]} == {""}
    with pytest.raises(ConvscopeError, match="'lion' is a class, 'conv2' a layer"):
        compare_targets(net, PHOTO, ["lion"], method="deconvnet", layer="conv2")


# ---- layers, models, squares ---------------------------------------------------------------------------------


def test_layers_stand_side_by_side_each_on_its_own_scale() -> None:
    net = friendly.network()
    sheet = compare_layers(net, PHOTO, ["conv1", "pool1", "relu2"], target="lion")
    assert list(sheet.explanations) == ["conv1", "pool1", "relu2"]
    for layer, found in sheet.explanations.items():
        assert_alone(found, net, "grad-cam", "lion", layer)
    assert len(set(scales(sheet))) == 3
    assert sheet.title == "grad-cam of Lion at 3 layers"
    assert [tile.note for tile in sheet.tiles[0][1:]] == ["12 x 12", "6 x 6", "6 x 6"]
    assert sheet.bar is None
    assert compare_layers(net, PHOTO, ["conv1", "relu2"], shared=True).bar is not None


def test_what_differs_from_layer_to_layer_stands_at_each_and_not_in_the_title() -> None:
    sheet = compare_layers(friendly.network(), PHOTO, ["conv1", "relu2"], method="deconvnet")
    assert sheet.title == "deconvnet at 2 layers"
    explained = [e.target for e in sheet.explanations.values()]
    assert [one.partition(":")[0] for one in explained] == ["conv1", "relu2"]  # each layer's strongest neuron
    assert [tile.note for tile in sheet.tiles[0][1:]] == explained


def test_a_method_without_a_layer_is_refused_a_sheet_over_layers() -> None:
    """Else all its maps would be the same, under different names."""
    with pytest.raises(ConvscopeError, match="saliency does not work at a layer"):
        compare_layers(friendly.network(), PHOTO, ["conv1", "conv2"], method="saliency")


def test_models_stand_side_by_side_on_one_scale_and_in_one_stamp() -> None:
    first, second = friendly.network(), friendly.network(seed=1, name="another net")
    sheet = compare_models([first, second], PHOTO, target="lion")
    for net, found in zip((first, second), sheet.explanations.values(), strict=True):
        assert_alone(found, net, "grad-cam", "lion")
    assert len(set(scales(sheet))) == 1
    assert len(set(scales(compare_models([first, second], PHOTO, target="lion", shared=False)))) == 2
    assert sheet.title == "grad-cam of Lion by 2 models"
    assert sheet.stamp.model == "a small net, another net"
    assert sheet.stamp.model_hash not in (first.fingerprint, second.fingerprint)
    assert sheet.stamp.data_hash == cs.predict(first, PHOTO).stamp.data_hash


def test_a_model_may_be_compared_with_itself_and_each_top_class_is_named() -> None:
    net, other = friendly.network(), friendly.network(classes=("a", "b", "c", "d", "e"))
    assert list(compare_models([net, net], PHOTO).explanations) == ["a small net", "a small net (2)"]
    tops = [cs.predict(each, PHOTO)[0][0] for each in (net, other)]
    assert compare_models([net, other], PHOTO).title == f"grad-cam of {tops[0]} and {tops[1]} by 2 models"


def test_squares_show_the_class_probability_with_the_square_there() -> None:
    net = friendly.network()
    sheet = compare_squares(net, PHOTO, [(4, 2), (6, 6)], target="lion")
    for (size, stride), found in zip([(4, 2), (6, 6)], sheet.explanations.values(), strict=True):
        options = {"size": size, "stride": stride, "reading": "score", "score": "probability"}
        assert_alone(found, net, "occlusion", "lion", **options)
        assert 0 <= float(found.values.min()) <= float(found.values.max()) <= 1
    assert list(sheet.explanations) == ["4 px, every 2 px", "6 px, every 6 px"]
    assert [tile.note for tile in sheet.tiles[0][1:]] == ["5 x 5 positions", "2 x 2 positions"]
    assert (sheet.title, sheet.bar.unit) == ("Probability of Lion with a square covered", "probability")


def test_squares_may_show_the_logit_or_a_units_activation_instead() -> None:
    net = friendly.network()
    logit = compare_squares(net, PHOTO, [(4, 4)], target="lion", options={"score": "logit"}, shared=False)
    assert_alone(logit.explanations["4 px, every 4 px"], net, "occlusion", "lion", size=4, stride=4, reading="score")
    assert (logit.title, logit.bar) == ("Logit of Lion with a square covered", None)
    unit = compare_squares(net, PHOTO, [(4, 4)], target="conv2:3")
    assert_alone(unit.explanations["4 px, every 4 px"], net, "occlusion", "conv2:3", size=4, stride=4, reading="score")
    assert unit.title == "Activation of conv2:3 with a square covered"


# ---- many photos ---------------------------------------------------------------------------------------------

PHOTOS = {"a.jpg": PHOTO, "b.jpg": friendly.photo(seed=1)}


def test_photos_by_methods() -> None:
    net = friendly.network()
    sheet = compare_photos(net, PHOTOS, ["gradient", "cam"], target="lion")
    assert list(sheet.explanations) == ["a.jpg|gradient", "a.jpg|cam", "b.jpg|gradient", "b.jpg|cam"]
    for key, found in sheet.explanations.items():
        name, method = key.split("|")
        assert torch.equal(found.values, cs.explain(net, PHOTOS[name], method, "lion").values)
    assert (sheet.row_headings, sheet.column_headings) == (("a.jpg", "b.jpg"), ("photo", "gradient", "cam"))
    assert [len(row) for row in sheet.tiles] == [3, 3]
    hashes = {cs.predict(net, photo).stamp.data_hash for photo in PHOTOS.values()}
    assert sheet.stamp.data_hash not in hashes
    assert sheet.picture().width > 400


def test_photos_by_layers_and_one_scale_a_column() -> None:
    net = friendly.network()
    sheet = compare_photos(net, PHOTOS, ["conv1", "relu2"], by="layer", shared=True)
    for key, found in sheet.explanations.items():
        name, layer = key.split("|")
        assert torch.equal(found.values, cs.explain(net, PHOTOS[name], "grad-cam", layer=layer).values)
    first_a, second_a, first_b, second_b = scales(sheet)
    assert first_a == first_b != second_a == second_b
    assert len(set(scales(compare_photos(net, PHOTOS, ["conv1", "relu2"], by="layer")))) == 4
    assert sheet.title == "2 photos x 2 layers"


def test_a_method_that_does_not_apply_leaves_its_column_empty_where_that_is_allowed() -> None:
    net = friendly.network(nets.plain)
    sheet = compare_photos(net, PHOTOS, ["cam", "gradient"], skip_refused=True)
    assert list(sheet.left_out) == ["cam"]
    assert [row[1].image for row in sheet.tiles] == [None, None]
    with pytest.raises(ConvscopeError, match="CAM needs a head"):
        compare_photos(net, PHOTOS, ["cam", "gradient"])
    with pytest.raises(ConvscopeError, match="CAM needs a head"):
        compare_photos(net, PHOTOS, ["cam"], skip_refused=True)


def test_no_photo_and_an_unknown_class_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="no photo to compare"):
        compare_photos(friendly.network(), {}, ["cam"])
    with pytest.raises(ConvscopeError, match="class 9 was asked for"):
        compare_photos(friendly.network(), PHOTOS, list(METHODS), target=9, skip_refused=True)
