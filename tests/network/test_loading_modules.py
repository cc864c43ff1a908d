"""A live module is taken as it is; models and class names that are none are refused with the nearest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.loading import load
from convscope.network.preprocessing import Preprocess
from tests import nets
from tests.untouched import Untouched, watch

PHOTO = Image.new("RGB", (20, 16))


# ---- a live module -------------------------------------------------------------------------------------------


def test_a_live_module_is_taken_as_it_is(untouched: Untouched) -> None:
    module = watch(nets.norm_dropout(train=True))
    net = load(module, classes=list("abcde"), size=12)
    assert net.module is module
    assert module.training
    assert net.classes == tuple("abcde")
    assert (net.name, net.device) == ("Sequential", torch.device("cpu"))
    assert net.input_of(PHOTO).dtype == torch.float64  # in its own precision
    untouched.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "random"}, "a live module has its weights"),
        ({"weights": "w.pt"}, "a live module has its weights"),
        ({"classes": []}, "classes=.* holds no class names"),
        ({"size": 0}, "size 0 px"),
        ({"size": -3}, "size -3 px"),
        ({"mean": (0.5,)}, "mean and std have a number a channel each"),
        ({"mean": (), "std": ()}, "mean and std have a number a channel each"),
        ({"std": (0.0, 1.0, 1.0)}, "std positive"),
        ({"device": "gpu"}, "no device 'gpu' here"),
        ({"device": "xpu:77"}, "no device 'xpu:77' here"),
        ({"preprocess": Preprocess(8, 8), "size": 0}, "with preprocess= give them there"),
        ({"preprocess": Preprocess(8, 8), "mean": (0.5,) * 3}, "with preprocess= give them there"),
    ],
)
def test_a_refused_load_leaves_a_live_module_alone(options: dict[str, Any], message: str, untouched: Untouched) -> None:
    module = watch(nets.norm_dropout(train=True))
    with pytest.raises(ConvscopeError, match=message):
        load(module, **options)
    untouched.check()


@pytest.mark.parametrize(
    ("factory", "channels"),
    [(nets.grey, 1), (nets.four_channel, 4), (nets.residual, 3), (nets.plain, 3), (nets.mlp, 3)],
)
def test_a_network_of_other_channels_needs_as_many_numbers(factory: Callable[..., nn.Module], channels: int) -> None:
    """``residual`` defines a convolution of 4 channels first, but none of them is 3 but the stem."""
    module = factory()
    if channels != 3:
        message = rf"the network takes {channels} channel\(s\): give as many numbers each for mean and std"
        for options in ({}, {"mean": (0.5,) * 3, "std": (0.5,) * 3}, {"mean": (0.5,) * channels}):
            with pytest.raises(ConvscopeError, match=message):
                load(module, **options)
    net = load(module, mean=(0.5,) * channels, std=(0.5,) * channels, size=12)
    assert isinstance(net.preprocess, Preprocess)
    assert net.preprocess.channels == channels


def test_a_callable_of_the_users_own_prepares_photos_and_is_checked() -> None:
    module = nets.plain(dtype=torch.float32)
    net = load(module, preprocess=lambda photo: torch.ones(1, 3, 8, 8, dtype=torch.float64))
    assert net.input_of(PHOTO).dtype == torch.float32
    assert net.notes == ()

    def unbatched(photo: Image.Image) -> Tensor:
        return torch.ones(3, 8, 8)

    for wrong, got in ((unbatched, r"\(3, 8, 8\)"), (lambda photo: torch.ones(2, 3, 8, 8), r"\(2, 3, 8, 8\)")):
        with pytest.raises(ConvscopeError, match=rf"preprocess gave {got}; it must turn a photo into \(1, c, h, w\)"):
            load(module, preprocess=wrong).input_of(PHOTO)
    with pytest.raises(ConvscopeError, match=r"Preprocess.from_torchvision"):
        load(module, preprocess=np.asarray).input_of(PHOTO)


# ---- names that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet50", "no model 'resnet50'; did you mean 'torchvision:resnet50'.*; a model is torchvision:NAME, timm"),
        ("torchvision:resnet5O", "no classifier 'resnet5O' in torchvision; did you mean 'resnet50'"),
        ("torchvision:RESNET50", "did you mean 'resnet50'"),
        ("torchvision:", "no model 'torchvision:'"),
        ("torchvision:fcn_resnet50", "no classifier 'fcn_resnet50' in torchvision"),
        ("tiny50", "no model 'tiny50'; did you mean 'bundled:tiny50'"),
        ("bundled:tiny5", "no bundled model 'tiny5'; there is bundled:tiny50"),
        ("model.pt2", "exported programs"),
        ("nowhere.models:make", "no model 'nowhere.models:make'"),
    ],
)
@pytest.mark.parametrize("weights", [None, "random"])
def test_an_unknown_model_is_refused_with_the_nearest(spec: str, message: str, weights: str | None) -> None:
    with pytest.raises(ConvscopeError, match=message):
        load(spec, weights=weights)


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("names.txt", "cat\ndog\n", ("cat", "dog")),
        ("names.txt", "\ufeffcat\r\n  dog \r\n\r\n", ("cat", "dog")),
        ("names", "7\n3", ("7", "3")),
        ("names.json", '["cat", 7]', ("cat", "7")),
    ],
)
def test_class_names_are_read_from_files(name: str, content: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert load(nets.plain(), classes=tmp_path / name).classes == names
    assert load(nets.plain(), classes=str(tmp_path / name)).classes == names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.txt", b"", "holds no class names"),
        ("names.txt", b"\n \n", "holds no class names"),
        ("names.txt", b"cat\n\ndog\n", "name 2 of 3 is blank"),
        ("names.txt", b"\xff\xfe\x00", "cannot read class names"),
        ("names.json", b"{", "is no JSON"),
        ("names.json", b'{"0": "cat"}', "holds no class names: one a line, or a JSON list"),
        ("names.json", b"[]", "holds no class names"),
        ("nothing.txt", None, "cannot read class names from .*nothing.txt"),
    ],
)
def test_files_without_class_names_are_refused(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConvscopeError, match=message):
        load(nets.plain(), classes=tmp_path / name)
