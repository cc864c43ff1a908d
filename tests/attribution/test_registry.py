"""The table of methods against the functions themselves: names, defaults, output shapes, signs."""

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

import convscope.attribution as attribution
from convscope.attribution import METHODS, Method, find_method
from convscope.errors import ConvscopeError
from tests import nets

NAMES = ["gradient", "saliency", "input-x-gradient", "smooth-grad", "var-grad", "integrated-gradients"]
NAMES += ["guided-backprop", "guided-saliency", "deconvnet"]
NAMES += ["cam", "grad-cam", "grad-cam++", "xgrad-cam", "layer-cam", "hires-cam", "ablation-cam", "score-cam"]
NAMES += ["eigen-cam", "guided-grad-cam", "occlusion", "rise"]
METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def test_the_table_has_every_method_of_the_design_so_far_in_its_order() -> None:
    assert list(METHODS) == NAMES
    assert all(name == method.name for name, method in METHODS.items())


@METHOD
def test_a_method_is_the_public_function_of_its_name(method: Method) -> None:
    name = method.name.replace("-", "_").replace("++", "_pp")
    assert method.function is getattr(attribution, name)
    assert name in attribution.__all__
    assert find_method(name) is method


@METHOD
def test_defaults_are_those_of_the_signature(method: Method) -> None:
    """Oracle: the signature: model and x by position, all others by name only, each with a default."""
    parameters = inspect.signature(method.function).parameters
    assert list(parameters)[:2] == ["model", "x"]
    others = list(parameters.values())[2:]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in others)
    assert dict(method.defaults) == {p.name: p.default for p in others}
    assert list(method.defaults) == [p.name for p in others]
    assert method.defaults["target"] is None
    assert "wrt" in method.defaults
    assert method.needs_layer <= ("layer" in method.defaults)


@METHOD
def test_every_default_is_documented(method: Method) -> None:
    """Oracle: the docstring names the option, or the function whose arguments it takes over."""
    text = inspect.getdoc(method.function) or ""
    for option in method.defaults:
        assert f"{option}:" in text or f"``{option}" in text or "rguments as ``" in text, option


@METHOD
@pytest.mark.parametrize(("b", "c", "h", "w"), [(1, 3, 12, 12), (2, 3, 20, 14)])
def test_the_output_has_the_shape_that_the_table_says(method: Method, b: int, c: int, h: int, w: int) -> None:
    values = method(nets.gap_linear(), nets.images(b, c, h, w))
    expected = {"pixels": (b, c, h, w), "pixel map": (b, h, w), "layer map": (b, h // 2, w // 2)}[method.output]
    assert values.shape == expected


@METHOD
def test_a_method_that_is_not_signed_has_no_negative_values(method: Method) -> None:
    layer = {"layer": "conv2"} if method.name == "eigen-cam" else {}  # rectified activations give it no negative value
    found = [method(nets.gap_linear(seed=seed), nets.images(seed=seed), target=1, **layer) for seed in range(3)]
    assert any(bool((values < 0).any()) for values in found) == method.signed


@METHOD
def test_a_method_is_called_as_its_function(method: Method) -> None:
    net, x = nets.gap_linear(), nets.images()
    assert torch.equal(method(net, x, target=2), method.function(net, x, target=2))


@METHOD
def test_a_method_needs_a_layer_where_the_layer_changes_its_map(method: Method) -> None:
    net, x = nets.gap_linear(), nets.images()
    if not method.needs_layer:
        assert "layer" not in method.defaults or method.name == "deconvnet"
        return
    layer: dict[str, Any] = {"layer": "relu2"}
    assert torch.equal(method(net, x, target=1, **layer), method(net, x, target=1))
    if method.name != "cam":  # its head fits one layer only
        assert not _same(method(net, x, target=1, layer="relu1"), method(net, x, target=1))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b)


@METHOD
def test_a_method_says_what_it_claims_where_it_fails_and_why_it_may_be_zero(method: Method) -> None:
    for text in (method.claim, method.limits, method.source, method.zero):
        assert text == text.strip()
        assert len(text) > 15
    assert method.claim.endswith(".")
    assert method.limits.endswith(".")
    assert method.look in ("gradient", "grain", "heat")
    assert (method.look == "gradient") == (method.output == "pixels" and method.signed)


def test_neither_table_nor_method_can_be_changed() -> None:
    with pytest.raises(TypeError):
        METHODS["mine"] = METHODS["cam"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["cam"].name = "mine"  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_found_with_hyphens_or_underscores(name: str) -> None:
    assert find_method(name) is find_method(name.replace("-", "_")) is METHODS[name]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("grad-camm", "did you mean 'grad-cam'"),
        ("Grad-CAM", "did you mean 'grad-cam'"),
        ("ocluson", "did you mean 'occlusion'"),
        ("", r"no method ''.*all: gradient, saliency"),
    ],
)
def test_a_method_that_is_none_is_refused_with_the_nearest_and_all(name: str, says: str) -> None:
    with pytest.raises(ConvscopeError, match=says) as refusal:
        find_method(name)
    assert all(known in str(refusal.value) for known in NAMES)


@METHOD
def test_a_method_without_a_class_is_one_that_no_target_changes(method: Method) -> None:
    """Oracle: two classes, called twice; the deconvnet's and the unsigned ones' maps differ as well."""
    net, x = nets.gap_linear(), nets.images()
    assert torch.equal(method(net, x, target=1), method(net, x, target=2)) == method.classless
