"""The checks that every other test relies on are themselves checked: each must fail when it should."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

import convscope.errors
from tests import nets, untouched


def test_annotations_of_convscope_are_checked_at_run_time() -> None:
    with pytest.raises(TypeCheckError):
        convscope.errors.nearest(7, ["a", "b"])  # type: ignore[arg-type]


def test_a_wrong_shape_is_refused_inside_convscope() -> None:
    from convscope.network.preprocessing import Preprocess

    pixels = Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
    assert pixels.inverse(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(TypeCheckError):
        pixels.inverse(torch.zeros(3, 4, 4))  # "b c h w" asked, three axes given


def _hook(net: nn.Module) -> None:
    net.get_submodule("relu1").register_forward_hook(lambda *_: None)


def _full_backward_hook(net: nn.Module) -> None:
    net.register_full_backward_hook(lambda *_: None)


def _state_dict_hook(net: nn.Module) -> None:
    net.register_state_dict_post_hook(lambda *_: None)


def _parameter_hook(net: nn.Module) -> None:
    next(net.parameters()).register_hook(lambda grad: grad)


def _training(net: nn.Module) -> None:
    net.get_submodule("pool2").train()


def _frozen(net: nn.Module) -> None:
    net.get_parameter("conv1.weight").requires_grad_(False)


def _grad(net: nn.Module) -> None:
    net.get_parameter("conv1.bias").grad = torch.zeros_like(net.get_parameter("conv1.bias"))


def _last_bit(net: nn.Module) -> None:
    weight = net.get_parameter("conv2.weight").data
    weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0, dtype=weight.dtype))


def _replaced_parameter(net: nn.Module) -> None:
    net.get_submodule("conv1").bias = nn.Parameter(net.get_parameter("conv1.bias").detach().clone())


def _replaced_module(net: nn.Module) -> None:
    net.relu1 = nn.SELU().eval()  # the same attributes as nn.ReLU, another class


def _patched_forward(net: nn.Module) -> None:
    relu = net.get_submodule("relu1")
    relu.forward = relu.forward


CHANGES = (_hook, _full_backward_hook, _state_dict_hook, _parameter_hook, _training, _frozen, _grad, _last_bit)
CHANGES += (_replaced_parameter, _replaced_module, _patched_forward)


@pytest.mark.parametrize("change", CHANGES)
def test_every_trace_in_a_model_is_seen(change: Callable[[nn.Module], None]) -> None:
    net = nets.plain()
    assert untouched.traces() == []
    change(net)
    assert untouched.traces() != []
    untouched.forget_all()


def test_a_running_statistic_that_moves_is_seen() -> None:
    net = nets.norm_dropout(train=True)
    with torch.random.fork_rng(devices=[]):
        net(nets.images())
    assert any("running_mean" in line for line in untouched.traces())
    untouched.forget_all()


def test_a_forward_and_backward_without_side_effects_leaves_no_trace() -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    torch.autograd.grad(net(x).sum(), x)
    assert untouched.traces() == []


@pytest.mark.global_rng
def test_global_state_that_moves_is_seen() -> None:
    before = untouched.look_around()
    torch.rand(1)
    torch.set_grad_enabled(False)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        moved = " ".join(untouched.differences(before, untouched.look_around()))
    finally:
        torch.set_grad_enabled(True)
        handle.remove()
    assert "random state" in moved
    assert "grad enabled" in moved
    assert "_global_forward_hooks" in moved


def test_the_fixture_fails_a_test_that_leaves_a_trace(pytester: pytest.Pytester) -> None:
    """Oracle: a run of three tests inside a test: one clean, one leaves a hook, one draws globally."""
    _copy_of_tests(pytester)
    pytester.makepyfile(
        **{
            "tests/test_inner": """
            import torch
            from tests import nets

            def test_clean(): nets.plain()(nets.images())
            def test_hook(): nets.plain().register_forward_hook(lambda *_: None)
            def test_draw(): torch.rand(1)
            """
        }
    )
    outcome = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:xdist", "tests/test_inner.py", timeout=120)
    outcome.assert_outcomes(passed=3, errors=2)  # a fixture that fails at its end is an error beside the pass
    outcome.stdout.fnmatch_lines(["*_forward_hooks was {}*", "*random state*"])


def test_shared_data_that_is_absent_is_skipped_and_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _copy_of_tests(pytester)
    pytester.makepyfile(**{"tests/test_inner": "def test_weights(squeezenet): assert False"})
    monkeypatch.setenv("CONVSCOPE_SHARED", str(pytester.path / "nowhere"))
    outcome = pytester.runpytest_subprocess("-p", "no:xdist", "-rs", "tests/test_inner.py", timeout=120)
    outcome.assert_outcomes(skipped=1)
    outcome.stdout.fnmatch_lines(["*no real data: *nowhere/models is absent*"])


def _copy_of_tests(pytester: pytest.Pytester) -> None:
    here = Path(__file__).parent
    folder = pytester.mkdir("tests")
    for name in ("__init__.py", "conftest.py", "untouched.py"):
        shutil.copy(here / name, folder / name)
    shutil.copytree(here / "nets", folder / "nets", ignore=shutil.ignore_patterns("__pycache__"))
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        pythonpath = ["."]
        addopts = "--import-mode=importlib"
        markers = ["global_rng: not checked"]
        """
    )


def test_squeezenet_is_the_net_of_the_readme_of_the_data(squeezenet: nn.Module) -> None:
    """Oracle: torchvision's parameter count, 1,248,424."""
    assert sum(weight.numel() for weight in squeezenet.parameters()) == 1_248_424
    assert not squeezenet.training


def test_resnet20_has_functional_relus_only(resnet20: nn.Module) -> None:
    """Oracle: He et al. 2016, table 6: 0.27 M parameters; no ReLU module in the file."""
    assert sum(weight.numel() for weight in resnet20.parameters()) == pytest.approx(0.27e6, rel=0.02)
    assert not any(isinstance(part, nn.ReLU) for part in resnet20.modules())
