"""What is explained: names, numbers, units and functions. Oracles: the logits and activations indexed by hand."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.targets import (
    Unit,
    aim,
    check_unit,
    class_index,
    class_logits,
    class_targets,
    parse_unit,
    resolve_names,
    scores,
    unit_scores,
)
from tests import nets

LOGITS = torch.tensor([[0.0, 5.0, -1.0], [3.0, 1.0, 2.0]], dtype=torch.float64)
CLASSES = ("king penguin", "7", "Ladybug", "crane", "crane", "maillot", "Maillot", "gold_fish", "hen:3", "conv1:0")


# ---- names of units ------------------------------------------------------------------------------------------

LAYERS = st.text(st.characters(exclude_characters=":@", exclude_categories=["Cs"]), min_size=1)
POSITIONS = st.none() | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))


@given(LAYERS, st.integers(0, 10**9), POSITIONS)
@example("layer4.1.relu#2", 447, (3, 4))
def test_a_units_name_read_back_is_the_unit(layer: str, number: int, position: tuple[int, int] | None) -> None:
    unit = Unit(layer, number, position)
    assert parse_unit(str(unit)) == unit


@pytest.mark.parametrize(
    "text", ["a:1\n", "a:٣", "a:1@2", "a:1@2,3,4", ":1", "a:-1", "a:b:1", "a:1@-2,3", "a:", "a", "1", ""]
)
def test_near_misses_are_no_units(text: str) -> None:
    assert parse_unit(text) is None


# ---- names of classes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("king penguin", 0),
        ("King_Penguin", 0),
        ("  king   penguin ", 0),
        ("7", 1),  # a class is called that
        ("2", 2),  # none is
        ("LADYBUG", 2),
        ("gold fish", 7),
        ("maillot", 5),  # exactly so, though another differs in case only
        ("Maillot", 6),
    ],
)
def test_a_class_is_found_by_name_whatever_the_case_and_the_blanks(name: str, index: int) -> None:
    assert class_index(name, CLASSES) == index


def test_a_name_that_no_class_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConvscopeError, match="no class 'goldfish' among the network's 10; did you mean 'gold_fish'"):
        class_index("goldfish", CLASSES)


@pytest.mark.parametrize(("name", "numbers"), [("crane", "3, 4"), ("Crane", "3, 4"), ("MAILLOT", "5, 6")])
def test_a_name_that_two_classes_share_is_refused_with_their_numbers(name: str, numbers: str) -> None:
    with pytest.raises(ConvscopeError, match=f"class name '{name}' is shared by classes {numbers}; give one of these"):
        class_index(name, CLASSES)


def test_the_names_of_imagenet_give_their_numbers() -> None:
    """Oracle: the order of torchvision's list. In others the crane that lifts and the one that flies share a name."""
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.DEFAULT.meta["categories"]
    for index in range(0, 1000, 40):
        assert class_index(names[index].upper().replace(" ", "_"), names) == index
    twice = [*names[:134], "crane", *names[135:517], "crane", *names[518:]]
    with pytest.raises(ConvscopeError, match="class name 'crane' is shared by classes 134, 517"):
        class_index("crane", twice)


def test_a_name_for_a_network_without_names_is_refused_and_a_number_is_not() -> None:
    assert class_index("12", ()) == 12
    with pytest.raises(ConvscopeError, match="this network has no class names"):
        class_index("cat", ())
    for text in ("-1", "1.0", "٣", ""):
        with pytest.raises(ConvscopeError, match="no class"):
            class_index(text, CLASSES)


@pytest.mark.parametrize(
    ("target", "resolved"),
    [
        ("ladybug", 2),
        ("conv1:3", "conv1:3"),  # a unit
        ("hen:3", 8),  # a class that reads like a unit
        ("Conv1:0", 9),
        (["ladybug", 1, "conv1:3@1,2"], [2, 1, "conv1:3@1,2"]),
        (("7", "2"), [1, 2]),
        (np.int64(4), 4),
        (torch.tensor(4), 4),
        (np.array([1, 2]), [1, 2]),
        (None, None),
        ([np.int64(3), torch.tensor(1), "crane7"[5:]], [3, 1, 1]),
    ],
)
def test_names_become_numbers_and_nothing_is_dropped(target: Any, resolved: Any) -> None:
    assert resolve_names(target, CLASSES) == resolved


# ---- scores --------------------------------------------------------------------------------------------------


def of(target: Any, output: Any = LOGITS, activations: dict[str, Tensor] | None = None, **options: Any) -> Tensor:
    return scores(aim(target), output, activations or {}, **options)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [5.0, 3.0]),
        (2, [-1.0, 2.0]),
        ("2", [-1.0, 2.0]),
        (np.int32(2), [-1.0, 2.0]),
        (torch.tensor(2), [-1.0, 2.0]),
        ([2, 0], [-1.0, 3.0]),
        ((2, "0"), [-1.0, 3.0]),
        (range(2), [0.0, 1.0]),
        (torch.tensor([1, 2]), [5.0, 2.0]),
        (np.array([1, 2]), [5.0, 2.0]),
        ([torch.tensor(1), np.int64(2)], [5.0, 2.0]),
        (lambda output: output[:, 0] + output[:, 1], [5.0, 4.0]),
    ],
)
def test_scores_are_the_logits_asked_for(target: Any, expected: list[float]) -> None:
    assert of(target).tolist() == expected


def test_a_probability_is_the_softmax() -> None:
    assert torch.equal(of(1, score="probability"), LOGITS.softmax(1)[:, 1])
    assert torch.equal(of([0, 2], score="probability"), LOGITS.softmax(1)[[0, 1], [0, 2]])
    assert torch.equal(of(None, score="probability"), LOGITS.softmax(1).amax(1))


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (3, {}, r"class 3 was asked for, but the network has 3 classes \(0 to 2\)"),
        (-1, {}, "class -1 was asked for"),
        ([0, 7], {}, "class 7 was asked for"),
        ([0], {}, "1 targets for 2 images: give one for all, or one an image"),
        ([0, 1, 2], {}, "3 targets for 2 images"),
        ([], {}, "0 targets for 2 images"),
        (torch.tensor([0, 1, 2]), {}, "3 targets for 2 images"),
        ([None, 1], {}, "target None of image 0 is neither a class number nor a unit"),
        ([[0], [1]], {}, r"target \[0\] of image 0 is neither"),
        (1.0, {}, "target 1.0 is neither a class number nor"),
        (torch.tensor([0.0, 1.0]), {}, "target 0.0 is neither"),
        (True, {}, "target True is neither"),
        (torch.tensor([True, False]), {}, "target True is neither"),
        ("tabby", {}, "target 'tabby' is neither a number nor a unit such as 'layer4:12'; class names need a network"),
        (0, {"score": "logits"}, "score 'logits' is neither 'logit' nor 'probability'"),
        (lambda output: output, {"score": "x"}, "score 'x' is neither"),
        (
            lambda output: output,
            {},
            r"the target function returned \(2, 3\); it must turn the output into \(b,\) scores",
        ),
        (lambda output: 1.0, {}, "the target function returned float"),
        (lambda output: output.mean(0), {"count": 2}, "the target function returned 3 scores for 2 images"),
    ],
)
def test_what_is_no_target_is_refused(target: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        of(target, **options)


def test_the_probability_of_a_network_with_one_output_is_refused() -> None:
    assert of(0, LOGITS[:, :1]).tolist() == [0.0, 3.0]
    with pytest.raises(ConvscopeError, match="always 1"):
        of(0, LOGITS[:, :1], score="probability")


def test_outputs_with_logits_in_them_are_read_and_others_left_to_a_callable() -> None:
    assert of(2, SimpleNamespace(logits=LOGITS)).tolist() == [-1.0, 2.0]
    output = nets.dict_output()(nets.images())
    with pytest.raises(ConvscopeError, match=r"returns a dict, not \(b, classes\) logits; give a callable"):
        class_logits(output)
    with pytest.raises(ConvscopeError, match=r"returns a Tensor of shape \(2, 3, 1\)"):
        class_logits(LOGITS[:, :, None])
    assert torch.equal(of(lambda out: out["logits"][:, 1], output), output["logits"][:, 1])


# ---- units ---------------------------------------------------------------------------------------------------

MAPS = nets.images(2, 4, 5, 6)
ROWS = nets.images(2, 4, 1, 1)[:, :, 0, 0]
ACTIVATIONS = {"conv1": MAPS, "linear": ROWS}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("conv1:3", MAPS[:, 3].mean((1, 2))),
        ("conv1:3@4,5", MAPS[:, 3, 4, 5]),
        ("linear:2", ROWS[:, 2]),
        (["conv1:3@0,0", "linear:1"], torch.stack([MAPS[0, 3, 0, 0], ROWS[1, 1]])),
        (["conv1:0", 2], torch.stack([MAPS[0, 0].mean(), LOGITS[1, 2]])),
        ([1, "conv1:0"], torch.stack([LOGITS[0, 1], MAPS[1, 0].mean()])),
        (["conv1:03@01,2", "conv1:3"], torch.stack([MAPS[0, 3, 1, 2], MAPS[1, 3].mean()])),
    ],
)
def test_a_units_score_is_its_mean_and_a_neurons_its_value_mixed_with_classes_too(
    target: Any, expected: Tensor
) -> None:
    assert torch.allclose(of(target, LOGITS, ACTIVATIONS), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("target", "layers", "needs_output"),
    [
        (None, (), True),
        (3, (), True),
        ([0, 1], (), True),
        ([], (), True),
        (len, (), True),
        ("conv1:3", ("conv1",), False),
        (["conv1:3", "conv1:0", "linear:1"], ("conv1", "linear"), False),
        (["conv1:3", 0], ("conv1",), True),
    ],
)
def test_a_pass_may_stop_early_only_where_units_are_all(target: Any, layers: tuple[str], needs_output: bool) -> None:
    aimed = aim(target)
    assert (aimed.layers, aimed.needs_output) == (layers, needs_output)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv1:4", "unit 4 was asked for, but layer 'conv1' has 4 units"),
        ("conv1:0@5,0", "position 5,0 was asked for, but layer 'conv1' has a map of 5 x 6"),
        ("conv1:0@0,6", "position 0,6 was asked for"),
        ("linear:4", "unit 4 was asked for, but layer 'linear' has 4 units"),
        ("linear:0@0,0", "position 0,0 was asked for, but layer 'linear' has no map"),
    ],
)
def test_a_unit_or_position_that_the_layer_does_not_have_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        of(name, None, ACTIVATIONS)
    with pytest.raises(ConvscopeError, match=message):
        of([name, "conv1:0"], None, ACTIVATIONS)


@pytest.mark.parametrize("unit", [Unit("conv1", -1), Unit("conv1", 0, (-1, 0)), Unit("conv1", 0, (0, -1))])
def test_a_unit_is_never_counted_from_the_end(unit: Unit) -> None:
    with pytest.raises(ConvscopeError, match="was asked for"):
        check_unit(unit, MAPS)


def test_tokens_have_no_units() -> None:
    with pytest.raises(ConvscopeError, match=r"gives \(2, 5, 6\): neither maps nor single units"):
        unit_scores(Unit("tokens", 0), MAPS[:, 0])
    with pytest.raises(ConvscopeError, match="neither maps"):
        check_unit(Unit("tokens", 0), MAPS[:, 0])


@pytest.mark.parametrize("target", ["conv1:0", ["conv1:0", 1]])
def test_a_unit_has_no_probability(target: Any) -> None:
    with pytest.raises(ConvscopeError, match="the unit conv1:0 has an activation only"):
        of(target, LOGITS, ACTIVATIONS, score="probability")


# ---- methods for classes alone -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        ("2", [2, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([2, 1]), [2, 1]),
        (np.int8(1), [1, 1]),
    ],
)
def test_class_targets_are_one_number_an_image(target: Any, expected: list[int]) -> None:
    assert class_targets(target, LOGITS).tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda output: output[:, 0], "explains classes, not a callable target"),
        ("conv1:3", "explains classes, not the unit conv1:3"),
        ([1, "conv1:3@0,1"], "explains classes, not the unit conv1:3@0,1"),
        (3, "class 3 was asked for"),
        ([0, 0, 0], "3 targets for 2 images"),
    ],
)
def test_methods_for_classes_refuse_other_targets(target: Any, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        class_targets(target, LOGITS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_scores_keep_the_networks_precision_and_its_graph(dtype: torch.dtype) -> None:
    logits = LOGITS.to(dtype).requires_grad_()
    target: Callable[[Tensor], Tensor] = lambda output: output[:, 0]  # noqa: E731
    for found in (of(None, logits), of([0, 1], logits), of(target, logits)):
        assert found.dtype == dtype
        assert found.requires_grad


def test_one_of_several_names_with_commas_between_them() -> None:
    """ImageNet's synonyms, as timm and Hugging Face print them; the whole name goes first, a shared one is refused."""
    names = ["tench, Tinca tinca", "crane", "crane, lifting machine", "tabby, tabby cat"]
    assert [class_index(n, names) for n in ("tinca_tinca", "Tabby", "lifting machine", "crane")] == [0, 3, 2, 1]
    with pytest.raises(ConvscopeError, match="class name 'bat' is shared by classes 0, 1"):
        class_index("bat", ["bat, animal", "bat, club"])
