"""timm's networks by name. Oracles: timm's own transform and module, its lists of names; refusals by hand."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.attribution import grad_cam
from convscope.errors import ConvscopeError
from convscope.network.foreign_transforms import ForeignTransform
from convscope.network.head import default_layer
from convscope.network.loading import load
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from convscope.network.timm_models import _preprocess, suggested
from tests import nets

timm = pytest.importorskip("timm", reason="needs the extra: pip install 'convscope[timm]'")
pytestmark = pytest.mark.global_rng  # timm draws initial weights

NOISE = [
    Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8))
    for i, size in enumerate([(50, 71), (300, 241), (224, 224), (400, 333)])
]
CONFIGURATION = {
    "input_size": (3, 32, 32), "interpolation": "bicubic", "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4),
    "crop_pct": 0.875, "crop_mode": "center", "num_classes": 7,
}  # fmt: skip


def _theirs(settings: dict[str, Any], photo: Image.Image) -> torch.Tensor:
    data = timm.data.resolve_data_config(pretrained_cfg=settings)
    return timm.data.create_transform(**data, is_training=False)(photo)[None]


def test_a_name_brings_timms_module_transform_and_labels() -> None:
    net = load("timm:resnet18", weights="random", device="cpu")
    assert net.name == "timm:resnet18 (random weights)"
    assert not net.module.training
    assert type(net.module).__module__ == "timm.models.resnet"
    assert net.classes[207] == "golden retriever"
    assert net.classes == tuple(timm.data.ImageNetInfo("imagenet-1k").label_descriptions())
    for photo in NOISE:
        assert torch.equal(net.preprocess(photo), _theirs(net.module.pretrained_cfg, photo))


def test_the_order_of_the_labels_is_torchvisions() -> None:
    """Two lists that were made apart: the first name of each class is the same in nearly all, and none is shifted."""
    from torchvision.models import ResNet18_Weights

    theirs = ResNet18_Weights.DEFAULT.meta["categories"]
    ours = load("timm:resnet18", weights="random", device="cpu").classes
    same = [a.lower() in [name.strip().lower() for name in b.split(",")] for a, b in zip(theirs, ours, strict=True)]
    assert sum(same) > 900


@pytest.mark.parametrize(("outputs", "first"), [(11821, "n"), (21841, "n"), (21843, "n"), (7, "")])
def test_labels_of_larger_heads_are_as_many_as_outputs(outputs: int, first: str) -> None:
    """Oracle: timm's synsets, whose lemmas they are."""
    from convscope.network.timm_models import _labels

    found = _labels(outputs)
    assert len(found) == (outputs if first else 0)
    if found:
        info = timm.data.ImageNetInfo(timm.data.infer_imagenet_subset({"num_classes": outputs}))
        assert found[4242] == info.index_to_description(4242)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Preprocess(36, 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic")),
        ({"interpolation": "bilinear", "crop_pct": 1.0}, Preprocess(32, 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))),
        ({"crop_mode": "squash"}, Preprocess((36, 36), 32, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic")),
        (
            {"crop_mode": "squash", "crop_pct": 1.0, "input_size": (3, 32, 48)},
            Preprocess((32, 48), (32, 48), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic"),
        ),
        ({"crop_mode": "border"}, None),
        ({"interpolation": "lanczos"}, None),
        ({"input_size": (3, 32, 48)}, None),
    ],
)
def test_data_configurations(changed: dict[str, Any], expected: Preprocess | None) -> None:
    """Oracle: timm's transform, bit for bit on pictures of noise; what no Preprocess is stays timm's own."""
    settings = CONFIGURATION | changed
    found = _preprocess(settings, torch.nn.Identity())
    assert suggested(timm.data.resolve_data_config(pretrained_cfg=settings)) == expected
    assert found == expected if expected else isinstance(found, ForeignTransform)
    for photo in NOISE:
        assert torch.equal(found(photo), _theirs(settings, photo))


def test_on_real_photos_bit_for_bit(shared: Path) -> None:
    files = sorted((shared / "data" / "imagenet_photos").glob("*.jpg"))[::20]
    assert len(files) == 10
    for name in ("resnet18", "vit_tiny_patch16_224"):
        net = load(f"timm:{name}", weights="random", device="cpu")
        assert isinstance(net.preprocess, Preprocess)
        for file in files:
            photo = read_image(file)
            assert torch.equal(net.preprocess(photo), _theirs(net.module.pretrained_cfg, photo))


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("resnet18", "layer4", 7),
        ("vit_tiny_patch16_224", "blocks.11.norm1", 14),
        ("deit_tiny_distilled_patch16_224", "blocks.11.norm1", 14),
        ("swin_tiny_patch4_window7_224", "norm", 7),
        ("mixer_s32_224", "norm", 7),
    ],
)
def test_grad_cam_at_the_default_layer(name: str, layer: str, grid: int) -> None:
    net = load(f"timm:{name}", weights="random", device="cpu")
    x = nets.images(1, h=224, w=224, dtype=torch.float32)
    assert default_layer(net.module, x) == layer
    assert grad_cam(net.module, x, target=3).shape == (1, grid, grid)


def test_classes_set_the_size_of_an_untrained_head(tmp_path: Path) -> None:
    """Oracle: timm's own network of that size, whose weights fit."""
    trained = timm.create_model("resnet18", num_classes=3).eval()
    torch.save(trained.state_dict(), tmp_path / "three.pth")
    net = load("timm:resnet18", weights=tmp_path / "three.pth", classes=["a", "b", "c"], device="cpu")
    x = nets.images(1, h=64, w=64, dtype=torch.float32)
    assert torch.equal(net.module(x), trained(x))
    assert net.classes == ("a", "b", "c")


def test_a_transform_of_its_own_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convscope.network.timm_models.suggested", lambda _: None)
    net = load("timm:resnet18", weights="random", device="cpu")
    assert any("maps are drawn on what it gives" in note for note in net.notes)
    assert torch.equal(net.input_of(NOISE[0]), _theirs(net.module.pretrained_cfg, NOISE[0]))
    with pytest.raises(ConvscopeError, match="has a transform of its own that size, mean and std cannot change"):
        load("timm:resnet18", weights="random", device="cpu", size=100)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet181", "random", "no network 'resnet181' in timm; did you mean 'resnet18'"),
        ("resnet18.a1_in2k", None, r"timm has no weights 'resnet18\.a1_in2k'; did you mean 'resnet18\.a1_in1k'"),
        ("test_nowhere", None, "no network 'test_nowhere' in timm"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, weights: str | None, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        load(f"timm:{name}", weights=weights)


def test_a_download_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network in tests: timm's way to the hub is replaced."""

    def cut(*_: Any, **__: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", cut)
    with pytest.raises(
        ConvscopeError, match=r"weights of timm:resnet18 cannot be downloaded \(OSError: no route.*--weights random"
    ):
        load("timm:resnet18")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConvscopeError, match=r"'timm:resnet18' needs the extra: pip install 'convscope\[timm\]'"):
        load("timm:resnet18")
