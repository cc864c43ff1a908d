"""Weights from files: what is accepted, unwrapped and refused. Oracle: the state dict that was saved."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.weights import load_into, read_weights
from tests import nets
from tests.untouched import Untouched, watch

State = dict[str, Tensor]


def trained() -> State:
    """Other weights than those of seed 0."""
    return nets.norm_dropout(seed=1).state_dict()


def prefixed(*prefixes: str) -> Callable[[State], State]:
    return lambda state: {"".join(prefixes) + name: value for name, value in state.items()}


def equal(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: OrderedDict(state),
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"state_dict": {"model": state}},
        lambda state: {name: nn.Parameter(value, requires_grad=False) for name, value in state.items()},
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ""])
def test_a_checkpoint_is_unwrapped(wrap: Callable[[State], Any], suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    torch.save(wrap(trained()), file)
    found = read_weights(file)
    assert isinstance(found, dict)
    assert equal(found, trained())


@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors"])
def test_safetensors_are_read(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    save_file(trained(), file)
    found = read_weights(file)
    assert isinstance(found, dict)
    assert equal(found, trained())


def test_a_checkpoint_of_the_old_format_is_read(tmp_path: Path) -> None:
    file = tmp_path / "old.pth"
    torch.save(trained(), file, _use_new_zipfile_serialization=False)
    assert equal(read_weights(file), trained())  # type: ignore[arg-type]


class Evil:
    """Runs code when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("make", ["a model", "a model in a dict", "code", "a config"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_objects_are_refused_unopened_and_accepted_from_who_is_trusted(
    make: str, zipped: bool, tmp_path: Path
) -> None:
    file, trace = tmp_path / "model.pt", tmp_path / "ran"
    content = {
        "a model": nn.Sequential(nn.Flatten()),
        "a model in a dict": {"model": nn.Sequential(nn.Flatten()), "epoch": 1},
        "code": {"state_dict": trained(), "x": Evil(trace)},
        "a config": {"state_dict": trained(), "args": pytest.param("x")},
    }[make]
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConvscopeError, match=r"holds pickled objects, not only tensors; .*--trust-pickle"):
        read_weights(file)
    assert not trace.exists()
    found = read_weights(file, trust_pickle=True)
    assert isinstance(found, nn.Module) if "model" in make else equal(found, trained())  # type: ignore[arg-type]
    assert trace.exists() == (make == "code")


def broken(kind: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        match kind:
            case "empty":
                file.touch()
            case "text":
                file.write_text("these are no weights\n")
            case "truncated":
                torch.save(trained(), file) if file.suffix == ".pt" else save_file(trained(), file)
                file.write_bytes(file.read_bytes()[:-200])
            case "noise":
                file.write_bytes(bytes(range(256)) * 8)
            case "zip":
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("hello.txt", "hello")

    return write


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "noise", "zip"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("trust", [False, True])
def test_a_file_that_is_broken_is_called_so_and_not_a_pickle(
    kind: str, suffix: str, trust: bool, tmp_path: Path
) -> None:
    file = tmp_path / f"weights{suffix}"
    broken(kind)(file)
    what = "no readable checkpoint" if suffix == ".pt" else "no readable safetensors file"
    with pytest.raises(ConvscopeError, match=f"weights{suffix} is {what}"):
        read_weights(file, trust_pickle=trust)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"epoch": 3, "net": {"a": torch.ones(1)}},
            "no state dict of tensors, but entries that are no tensors: ep",
        ),
        ({**trained(), "version": 2}, "entries that are no tensors: version"),
        ({}, "holds no state dict of tensors, but nothing"),
        ({"state_dict": {}}, "but nothing"),
        (torch.ones(3), "holds a Tensor, not a state dict"),
        ([torch.ones(3)], "holds a list, not a state dict"),
    ],
)
def test_a_checkpoint_without_a_state_dict_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(content, file)
    with pytest.raises(ConvscopeError, match=message):
        read_weights(file)


def test_a_file_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    torch.save(trained(), tmp_path / "resnet50.pt")
    with pytest.raises(ConvscopeError, match=r"no weights file at .*resnet5.pt; did you mean 'resnet50.pt'"):
        read_weights(tmp_path / "resnet5.pt")
    for missing in (tmp_path, tmp_path / "no" / "weights.pt"):
        with pytest.raises(ConvscopeError, match="no weights file at"):
            read_weights(missing)


def test_a_pickle_of_a_class_that_is_gone_is_refused_also_where_trusted(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(pickle.dumps({"x": 1}).replace(b"x", b"y") + b"rest")
    with pytest.raises(ConvscopeError, match="is no readable checkpoint"):
        read_weights(file, trust_pickle=True)


# ---- into a module -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rename",
    [
        prefixed(),
        prefixed("module."),
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("module.", "_orig_mod."),
        prefixed("_orig_mod.", "module."),
        prefixed("model.", "module.", "_orig_mod."),
        prefixed("module.", "module."),
    ],
)
def test_prefixes_of_wrappers_are_taken_off(rename: Callable[[State], State]) -> None:
    net = nets.norm_dropout()
    load_into(net, rename(trained()), Path("weights.pt"))
    assert equal(net.state_dict(), trained())
    watch(net)


@pytest.mark.parametrize("inner", ["model", "module"])
@pytest.mark.parametrize("outer", [(), ("module.",), ("model.",), ("_orig_mod.", "module.")])
def test_a_network_with_a_part_called_as_a_prefix_keeps_that_name(inner: str, outer: tuple[str, ...]) -> None:
    net = nn.Sequential(OrderedDict({inner: nets.norm_dropout(), "tail": nn.Identity()}))
    state = {f"{inner}.{name}": value for name, value in trained().items()}
    load_into(net, prefixed(*outer)(state), Path("weights.pt"))
    assert equal(net.state_dict(), state)
    watch(net[0])


def test_counters_of_batch_norms_may_be_missing_and_halves_are_widened() -> None:
    net = nets.norm_dropout(dtype=torch.float32)
    state = {k: v.half() for k, v in trained().items() if not k.endswith("num_batches_tracked")}
    load_into(net, state, Path("weights.pt"))
    assert all(torch.equal(net.state_dict()[name], value.float()) for name, value in state.items())
    assert {tensor.dtype for tensor in net.parameters()} == {torch.float32}
    watch(net)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("conv1.bias"), "does not fit Sequential: missing: conv1.bias"),
        (lambda s: s | {"extra": torch.ones(1)}, "not in the network: extra"),
        (
            lambda s: without("conv1.bias")(s) | {"extra": torch.ones(1)},
            "missing: conv1.bias; not in the network: extra",
        ),
        (
            lambda s: {f"other.{k}": v for k, v in s.items()},
            r"missing: conv1.weight, .* and \d+ more; not in the network",
        ),
        (lambda s: s | {"conv1.bias": torch.ones(7)}, r"shapes: conv1.bias \(7,\) instead of \(6,\)"),
        (lambda s: s | {"conv1.weight": torch.ones(6, 3, 5, 5)}, r"shapes: conv1.weight \(6, 3, 5, 5\) instead of"),
        (lambda s: s | {"conv1.bias": torch.ones(())}, r"shapes: conv1.bias \(\) instead of \(6,\)"),
        (lambda s: s | {"norm1.weight": torch.ones(())}, r"shapes: norm1.weight \(\) instead of \(6,\)"),
        (lambda s: prefixed("module.")(s) | {"epoch": torch.ones(1)}, "missing: conv1.weight"),
    ],
)
@pytest.mark.parametrize("classes", [None, 7])
def test_weights_that_do_not_fit_are_refused_and_the_module_is_as_it_was(
    change: Callable[[State], State], message: str, classes: int | None, untouched: Untouched
) -> None:
    net = nets.norm_dropout()
    with pytest.raises(ConvscopeError, match=message):
        load_into(net, change(trained()), Path("weights.pt"), classes=classes if "bias" not in message else None)
    untouched.check()


def headed(classes: int) -> State:
    """The weights of ``norm_dropout`` with another number of classes."""
    rows = torch.arange(classes) % nets.CLASSES
    return {k: v[rows] if k.startswith("linear") else v for k, v in trained().items()}


@pytest.mark.parametrize("classes", [None, 4, 6])
def test_another_number_of_classes_is_refused_with_what_to_do(classes: int | None, untouched: Untouched) -> None:
    net = nets.norm_dropout()
    message = r"linear.weight \(7, 6\) instead of \(5, 6\).*; these weights name 7 classes and the network 5: give"
    with pytest.raises(ConvscopeError, match=message):
        load_into(net, headed(7), Path("weights.pt"), classes=classes)
    untouched.check()


def test_a_head_takes_the_number_of_classes_that_was_given() -> None:
    """Oracle: a net built with that many; the frozen flag of the old head stays."""
    net = nets.norm_dropout().requires_grad_(False)
    load_into(net, headed(7), Path("weights.pt"), classes=7)
    linear = net.get_submodule("linear")
    assert isinstance(linear, nn.Linear)
    assert linear.out_features == 7
    assert not linear.weight.requires_grad
    expected = nets.norm_dropout(seed=1)(nets.images())[:, torch.arange(7) % 5]
    assert torch.allclose(net(nets.images()), expected, rtol=0, atol=1e-15)
    watch(net)


def test_a_convolutional_head_takes_it_too_wherever_it_was_defined() -> None:
    net = nets.conv_relu_gap()
    state = {
        k: v[[0, 1, 2]] if k.startswith("classifier") else v for k, v in nets.conv_relu_gap(seed=1).state_dict().items()
    }
    load_into(net, state, Path("weights.pt"), classes=3)
    assert net(nets.images()).shape == (2, 3)
    watch(net)


def test_an_inner_layer_never_changes_its_size(untouched: Untouched) -> None:
    """Six channels in the middle become seven: the next layer's weights say so."""
    net = nets.conv_relu_gap()
    state = net.state_dict()
    state |= {
        "conv1.weight": torch.ones(7, 3, 3, 3),
        "conv1.bias": torch.ones(7),
        "conv2.weight": torch.ones(8, 7, 3, 3),
    }
    with pytest.raises(ConvscopeError, match=r"shapes: conv2.weight \(8, 7, 3, 3\) instead of \(8, 6, 3, 3\)$"):
        load_into(net, state, Path("weights.pt"), classes=7)
    untouched.check()
