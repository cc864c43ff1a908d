"""The folder of a training as a model. Oracles: the module that was stored, to the bit; the refusals word by word."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convscope.errors import ConvscopeError
from convscope.network.head_entries import head_on
from convscope.network.loading import load
from convscope.network.preprocessing import Preprocess
from convscope.network.small_nets import small_net
from convscope.network.trained import is_run, network_of, preprocess_of
from convscope.store.checked_tensors import write_checked
from convscope.store.run_folder import TRAINING, WEIGHTS, Training, begin_training, finish_training, writing_run
from tests import nets

GREY = Preprocess(size=28, crop=28, mean=(0.3,), std=(0.35,), interpolation="bicubic")
NAMES = tuple("0123456789")
ENTRY = {"kind": "small", "name": "digits", "classes": 10, "channels": 1, "size": 28}
FACTORY = """
import torch
from torch import nn

MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 12


def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 7))
"""
Store = Callable[..., Path]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return make()


@pytest.fixture
def digits() -> nn.Module:
    return seeded(lambda: small_net("digits").build(10)).eval()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run of ``net`` in ``tmp_path / NAME.run``, as a training leaves it."""

    def to_folder(
        net: nn.Module | None,
        entry: Mapping[str, Any] | None = ENTRY,
        *,
        name: str = "some.run",
        finished: bool = True,
        **said: Any,
    ) -> Path:
        training = Training(network=entry, classes=NAMES, epochs=9, preprocess=asdict(GREY))
        with writing_run(tmp_path / name) as folder:
            begin_training(folder, replace(training, **said))
            if net is not None:
                tensors = {key: values.numpy() for key, values in net.state_dict().items()}
                write_checked(folder / WEIGHTS, "weights", {"epoch": 4}, tensors)
            if finished:
                finish_training(folder)
        return tmp_path / name

    return to_folder


# ---- what comes back -------------------------------------------------------------------------------------------


def test_logits_are_those_of_the_network_that_was_stored_to_the_bit(store: Store, digits: nn.Module) -> None:
    folder = store(digits)
    state = torch.random.get_rng_state()
    net = load(str(folder), device="cpu")
    assert torch.equal(torch.random.get_rng_state(), state), "first weights were drawn and then replaced"
    x = nets.images(3, 1, 28, 28, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(net.module(x), digits(x))
    assert not net.module.training
    assert (net.classes, net.preprocess, net.name, net.notes) == (NAMES, GREY, "some.run", ())


def test_a_digit_in_the_box_goes_in_as_it_is(store: Store, digits: nn.Module) -> None:
    """By hand: 28 px are neither resized nor cropped; x = (pixel / 255 - 0.3) / 0.35."""
    import numpy as np

    import convscope as cs
    from convscope.network.digit_pictures import digit_picture

    net = load(str(store(digits)), device="cpu")
    pixels = torch.from_numpy(np.array(digit_picture("bundled:digits:3")[1]))[None, None]
    expected = (pixels.float() / 255 - 0.3) / 0.35
    torch.testing.assert_close(net.input_of(cs.read_image("bundled:digits:3")), expected)


def test_a_factory_is_called_and_its_head_has_the_classes_of_the_training(store: Store, tmp_path: Path) -> None:
    """Buffers come along: the batch norm's averages are not those that it begins with."""
    (tmp_path / "net.py").write_text(FACTORY)
    entry = {"kind": "spec", "spec": f"{tmp_path}/net.py:make", "classes": 2}
    net = seeded(lambda: network_of(entry))
    assert net.training
    x = nets.images(4, 3, 12, 12, dtype=torch.float32)
    net(x)  # moves the averages
    again = load(str(store(net, entry, classes=("a", "b"), preprocess=asdict(Preprocess(12, 12)))), device="cpu")
    with torch.no_grad():
        assert torch.equal(again.module(x), net.eval()(x))
    assert again.preprocess == Preprocess(12, 12)


def test_a_head_on_a_run_needs_that_run_no_more(store: Store, digits: nn.Module) -> None:
    """The base's own entry stands in the head's, and its weights are stored with it."""
    base = load(str(store(digits, name="base.run")), device="cpu")
    headed, entry = head_on(base, "relu3", "mean", 3)
    folder = store(headed, json.loads(json.dumps(entry)), name="head.run", classes=("a", "b", "c"))
    (folder.parent / "base.run").rename(folder.parent / "moved")
    x = nets.images(2, 1, 28, 28, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(load(str(folder), device="cpu").module(x), headed.eval()(x))


def test_a_training_that_goes_on_is_read_and_says_so(store: Store, digits: nn.Module) -> None:
    net = load(str(store(digits, finished=False)), device="cpu")
    assert net.notes == ("the training is not finished: these are the weights of epoch 4 of 9",)


def test_it_can_be_made_again_from_another_folder(
    store: Store, digits: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(store(digits).parent)
    again = load("some.run", device="cpu").again
    assert again is not None
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(again["spec"], device="cpu").classes == NAMES


@pytest.mark.global_rng
def test_random_weights_are_asked_for_by_name(store: Store, digits: nn.Module) -> None:
    """Of the same network, drawn from torch's state; the stored ones are not even looked at."""
    folder = store(None)
    torch.manual_seed(1)
    net = load(str(folder), "random", device="cpu")
    torch.manual_seed(1)
    fresh = small_net("digits").build(10)
    assert torch.equal(net.module.get_parameter("conv1.weight"), fresh.get_parameter("conv1.weight"))
    assert net.name == "some.run (random weights)"


def test_preprocessing_goes_through_json_and_back() -> None:
    for one in (GREY, Preprocess(None, (20, 30)), Preprocess((9, 8), None, crop_rounding="down")):
        assert preprocess_of(json.loads(json.dumps(asdict(one)))) == one


def test_a_folder_is_known_by_its_file_or_its_name(store: Store, digits: nn.Module) -> None:
    folder = store(digits).rename(store(digits, name="b.run").parent / "renamed")
    assert is_run(str(folder))
    assert is_run("nowhere/x.run")
    assert is_run("x.run/")
    assert not is_run("torchvision:resnet18")


# ---- what is refused -------------------------------------------------------------------------------------------


def refusal(folder: Path | str, *args: Any) -> str:
    with pytest.raises(ConvscopeError) as error:
        load(str(folder), *args, device="cpu")
    return str(error.value)


def test_a_misspelt_run_is_answered_with_the_nearest(store: Store, digits: nn.Module) -> None:
    folder = store(digits)
    said = refusal(folder.with_name("sone.run"))
    assert said == f"there is no training {folder.with_name('sone.run')}; did you mean 'some.run'?"


def test_a_run_without_weights_says_how_to_go_on(store: Store) -> None:
    said = refusal(store(None, finished=False))
    assert "no weights in" in said
    assert "was stopped before its first epoch was done (there is no weights.safetensors)" in said
    assert "--resume, or --weights random for the untrained network" in said


def test_a_finished_run_that_lost_its_weights(store: Store) -> None:
    assert "the training has lost its weights" in refusal(store(None))


def test_weights_of_another_network_are_refused_with_both_shapes(store: Store) -> None:
    other = seeded(lambda: small_net("digits").build(10, channels=3))
    assert "conv1.weight (9, 3, 5, 5) instead of (9, 1, 5, 5)" in refusal(store(other))


def test_one_flipped_bit_is_found(store: Store, digits: nn.Module) -> None:
    file = store(digits) / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert refusal(file.parent) == f"{file} is damaged: its checksum does not agree"


def test_a_programs_own_network_cannot_be_built(store: Store, digits: nn.Module) -> None:
    folder = store(digits, None)
    assert refusal(folder).endswith(f"--model path/file.py:factory --weights {folder / WEIGHTS}")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"kind": "smal"}, "no network of kind 'smal'; there are small, spec, headed: update convscope"),
        ({"kind": "small", "name": "digits"}, "the entry of a small network is damaged: KeyError 'classes'"),
        ({**ENTRY, "name": "digit"}, "no network 'digit'; did you mean 'digits'?"),
        ({"kind": "spec", "spec": "gone.py:make", "classes": 3}, "no file gone.py"),
        ({"kind": "headed", "maps": [1, 2]}, "the entry of a headed network is damaged"),
    ],
)
def test_an_entry_that_builds_nothing(store: Store, digits: nn.Module, entry: dict[str, Any], said: str) -> None:
    folder = store(digits, entry)
    assert refusal(folder).startswith(f"the network of {folder} cannot be built: {said}")


def test_a_factory_that_has_moved_can_be_pointed_to(store: Store, tmp_path: Path) -> None:
    """Below a head too; what the refusal says to do is done, and helps. A name that is no file gets no such advice."""
    (tmp_path / "net.py").write_text(FACTORY)
    entry = {"kind": "spec", "spec": f"{tmp_path}/net.py:make", "classes": 2}
    folder = store(seeded(lambda: network_of(entry)), entry, classes=("a", "b"))
    with torch.random.fork_rng(devices=[]):
        base = load(f"{tmp_path}/net.py:make", "random", device="cpu")
    headed, above = head_on(base, "2", "mean", 3)
    head = store(headed, json.loads(json.dumps(above)), name="head.run", classes=("a", "b", "c"))
    (tmp_path / "net.py").rename(tmp_path / "moved.py")
    for run in (folder, head):
        said = refusal(run)
        assert f'where it has moved, say so in {run / TRAINING}: "spec": "{tmp_path}/net.py:make"' in said
        (run / TRAINING).write_text((run / TRAINING).read_text().replace("/net.py:make", "/moved.py:make"))
        load(str(run), device="cpu")
    unknown = store(None, {"kind": "spec", "spec": "torchvision:resnet", "classes": 2}, name="other.run")
    assert "where it has moved" not in refusal(unknown)


def test_damaged_preprocessing_names_the_file(store: Store, digits: nn.Module) -> None:
    folder = store(digits, preprocess={"sizes": 3})
    assert refusal(folder).startswith(f"{folder}/training.json: the preprocessing of a training is damaged")


def test_other_class_names_than_were_trained(store: Store, digits: nn.Module) -> None:
    said = refusal(store(digits), None, ["a", "b"])
    assert said.startswith("2 class names for the 10 classes of some.run")


def test_the_digits_are_no_model_and_a_run_is_among_what_a_model_can_be() -> None:
    said = refusal("bundled:digits")
    assert said.startswith(
        "bundled:digits is data, no model; train one: convscope train bundled:digits --out digits.run"
    )
    assert "NAME.run" in refusal("nothing")
