"""From a name to a network: module, preprocessing, names, and every refusal. Oracles: torch's own loading, by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from convscope.errors import ConvscopeError
from convscope.network import loading
from convscope.network.loading import load
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets
from tests.nets import heads
from tests.untouched import watch

NET = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
            super().__init__(nn.Conv2d({channels}, 4, 3), nn.ReLU(), *head)
"""
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def to_file(constants: str = "", channels: int = 3) -> str:
        (tmp_path / "net.py").write_text(NET.format(channels=channels) + constants)
        return f"{tmp_path}/net.py:Net"

    return to_file


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


# ---- the bundled model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [None, "bundled:tiny50"])
def test_the_model_in_the_box(spec: str | None) -> None:
    """Oracle: the file in the package, read by safetensors itself."""
    file = Path(loading.__file__).with_name("tiny50.safetensors")
    net = load(spec, device="cpu")
    with safe_open(file, framework="pt") as stored:
        assert net.classes == tuple(json.loads(stored.metadata()["classes"]))
        for name, tensor in net.module.state_dict().items():
            assert stored.get_tensor(name).dtype == torch.float16
            assert torch.equal(tensor, stored.get_tensor(name).float())
            assert tensor.dtype == torch.float32
    assert file.stat().st_size <= 4 * 2**20
    assert len(set(net.classes)) == 50
    assert {"tabby", "king penguin"} <= set(net.classes)
    assert net.preprocess == Preprocess(size=64, crop=64, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert (net.name, net.notes, net.module.training) == ("bundled:tiny50", (), False)
    assert net.module(net.input_of(PHOTO)).shape == (1, 50)


@pytest.mark.global_rng
def test_the_bundled_model_with_random_weights_is_untrained_and_takes_other_classes() -> None:
    stored = load(device="cpu")
    drawn = load("bundled:tiny50", weights="random", device="cpu")
    assert drawn.name == "bundled:tiny50 (random weights)"
    assert drawn.fingerprint != stored.fingerprint
    assert drawn.classes == stored.classes
    other = load("bundled:tiny50", weights="random", classes=["a", "b"], device="cpu")
    assert other.module(other.input_of(PHOTO)).shape == (1, 2)
    with pytest.raises(ConvscopeError, match="2 class names for the 50 classes of bundled:tiny50: its head"):
        load("bundled:tiny50", classes=["a", "b"])


# ---- torchvision ---------------------------------------------------------------------------------------------


@pytest.mark.global_rng
def test_torchvisions_name_brings_its_transforms_and_names() -> None:
    from torchvision.models import SqueezeNet1_1_Weights

    net = load("torchvision:squeezenet1_1", weights="random", device="cpu")
    assert net.classes == tuple(SqueezeNet1_1_Weights.DEFAULT.meta["categories"])
    assert net.preprocess == Preprocess.from_torchvision(SqueezeNet1_1_Weights.DEFAULT.transforms())
    assert net.name == "torchvision:squeezenet1_1 (random weights)"
    assert not net.module.training


@pytest.mark.global_rng
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "googlenet"])
def test_classes_set_the_size_of_torchvisions_heads(name: str, tmp_path: Path) -> None:
    """A network for 365 places, from a checkpoint of such a one. Oracle: torchvision's own, built with that size."""
    from torchvision import models

    options = {"init_weights": False} if name == "googlenet" else {}
    trained = models.get_model(name, weights=None, num_classes=365, **options).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in trained.state_dict().items()}}, tmp_path / "places.pth")
    (tmp_path / "places.txt").write_text("\n".join(f"place {i}" for i in range(365)) + "\n\n")
    net = load(f"torchvision:{name}", weights=tmp_path / "places.pth", classes=tmp_path / "places.txt", device="cpu")
    x = nets.images(1, h=64, w=64, dtype=torch.float32)
    assert torch.equal(net.module(x), trained(x))
    assert net.classes[364] == "place 364"
    assert net.name == f"torchvision:{name} (places.pth)"
    with pytest.raises(ConvscopeError, match="these weights name 365 classes and the network 1000: give their names"):
        load(f"torchvision:{name}", weights=tmp_path / "places.pth", device="cpu")
    with pytest.raises(ConvscopeError, match="these weights name 365 classes and the network 3"):
        load(f"torchvision:{name}", weights=tmp_path / "places.pth", classes=["a", "b", "c"], device="cpu")


@pytest.mark.global_rng
def test_pretrained_weights_come_from_torchvision_and_their_absence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network here: the download is torchvision's, and is replaced."""
    import urllib.error

    from torchvision import models

    trained = models.squeezenet1_1(weights=None).state_dict()
    enum = type(models.SqueezeNet1_1_Weights.DEFAULT)
    monkeypatch.setattr(enum, "get_state_dict", lambda *_, **__: trained)
    net = load("torchvision:squeezenet1_1", device="cpu")
    assert net.name == "torchvision:squeezenet1_1"
    assert all(torch.equal(net.module.state_dict()[name], trained[name]) for name in trained)
    renamed = load("torchvision:squeezenet1_1", classes=[f"c{i}" for i in range(1000)], device="cpu")
    assert renamed.classes[999] == "c999"
    with pytest.raises(ConvscopeError, match="365 class names for the 1000 classes of torchvision:squeezenet1_1"):
        load("torchvision:squeezenet1_1", classes=[f"c{i}" for i in range(365)])

    def cut(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(enum, "get_state_dict", cut)
    with pytest.raises(ConvscopeError, match=r"cannot be downloaded .*no route.*--weights FILE, or --weights random"):
        load("torchvision:squeezenet1_1")


def test_real_weights_give_the_network_of_the_data_folder(shared: Path, squeezenet: nn.Module) -> None:
    file = shared / "models" / "squeezenet1_0_imagenet.safetensors"
    with torch.random.fork_rng(devices=[]):
        net = load("torchvision:squeezenet1_0", weights=file, device="cpu")
    x = nets.images(1, h=96, w=96, dtype=torch.float32)
    assert torch.equal(net.module(x), squeezenet(x))
    assert net.class_name(1) == "goldfish"


# ---- a user's own --------------------------------------------------------------------------------------------


def test_a_users_file_with_its_constants_and_weights(shared: Path, resnet20: nn.Module) -> None:
    spec = f"{shared}/models/cifar_resnet.py:resnet20"
    with torch.random.fork_rng(devices=[]):
        net = load(spec, weights=shared / "models" / "cifar10_resnet20.safetensors", device="cpu")
        sized = load(spec, size=32, device="cpu")
    x = nets.images(2, h=32, w=32, dtype=torch.float32)
    assert torch.equal(net.module(x), resnet20(x))
    assert net.classes[:2] == ("airplane", "automobile")
    assert net.preprocess == Preprocess(size=None, crop=None, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert net.notes == ("no input size known for this network: photos keep their own (--size)",)
    assert net.name == f"{spec} (cifar10_resnet20.safetensors)"
    assert sized.preprocess == Preprocess(size=32, crop=32, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert sized.notes == ()


MEAN_NOTE = "no mean and std known for this network: ImageNet's are used (--mean, --std)"
SIZE_NOTE = "no input size known for this network: 224 is used (--size)"


@pytest.mark.parametrize(
    ("constants", "options", "expected", "notes"),
    [
        ("", {}, Preprocess(224, 224), (MEAN_NOTE, SIZE_NOTE)),
        ("", {"size": 40}, Preprocess(40, 40), (MEAN_NOTE,)),
        ("", {"mean": (0.1,) * 3, "std": (0.2,) * 3}, Preprocess(224, 224, (0.1,) * 3, (0.2,) * 3), (SIZE_NOTE,)),
        ("SIZE = 32", {}, Preprocess(32, 32), (MEAN_NOTE,)),
        ("SIZE = 32", {"size": 40}, Preprocess(40, 40), (MEAN_NOTE,)),
        ("MEAN = STD = [.5] * 3; SIZE = 32", {}, Preprocess(32, 32, (0.5,) * 3, (0.5,) * 3), ()),
        ("MEAN = STD = [.5] * 3; SIZE = 32", {"std": [0.1] * 3}, Preprocess(32, 32, (0.5,) * 3, (0.1,) * 3), ()),
    ],
)
@pytest.mark.usefixtures("cpu_only")
def test_what_is_assumed_is_noted_and_what_is_given_is_not(
    write: Callable[..., str], constants: str, options: dict[str, Any], expected: Preprocess, notes: tuple[str, ...]
) -> None:
    net = load(write(constants), **options)
    assert (net.preprocess, net.notes) == (expected, notes)
    assert net.class_name(2) == "class 2"


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ("MEAN = (0.5,) * 3", r"mean and std have a number a channel each"),
        ("STD = (0.5,) * 3", r"mean and std have a number a channel each"),
        ("MEAN = 0.5; STD = 0.5", r"MEAN, STD or SIZE in the file of .*net.py:Net are no numbers"),
        ("MEAN = STD = ('a',) * 3", "are no numbers"),
        ("SIZE = '32'", "are no numbers"),
        ("SIZE = 32.5", "are no numbers"),
        ("MEAN = STD = (.5,) * 3; SIZE = 0", "sizes are at least 1 pixel"),
        ("CLASSES = 'cat dog'", "CLASSES in the file of .* is a str; it must be a list of names"),
        ("CLASSES = {0: 'cat'}", "CLASSES in the file of .* is a dict"),
    ],
)
@pytest.mark.usefixtures("cpu_only")
def test_constants_that_are_not_what_they_must_be_are_refused(
    write: Callable[..., str], constants: str, message: str
) -> None:
    with pytest.raises(ConvscopeError, match=message):
        load(write(constants))


@pytest.mark.usefixtures("cpu_only")
def test_a_users_network_takes_a_head_of_the_size_of_the_classes(write: Callable[..., str], tmp_path: Path) -> None:
    spec = write("CLASSES = ['a', 'b', 'c']")
    state = load(spec).module.state_dict()
    state["4.weight"], state["4.bias"] = torch.ones(7, 4), torch.arange(7.0)
    save_file(state, tmp_path / "seven.safetensors")
    names = [f"n{i}" for i in range(7)]
    net = load(spec, weights=tmp_path / "seven.safetensors", classes=names)
    assert net.classes == tuple(names)
    assert torch.equal(net.module[4].bias, torch.arange(7.0))
    with torch.random.fork_rng(devices=[]):
        assert load(spec, weights="random", classes=names).module(torch.zeros(1, 3, 8, 8)).shape == (1, 7)
    with pytest.raises(ConvscopeError, match=r"7 class names for the 3 classes of .*: its head would be untrained"):
        load(spec, classes=names)
    with pytest.raises(ConvscopeError, match="these weights name 7 classes and the network 3"):
        load(spec, weights=tmp_path / "seven.safetensors")


@pytest.mark.usefixtures("cpu_only")
def test_a_pickled_model_is_the_network_once_it_is_trusted(write: Callable[..., str], tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Flatten()).train(), tmp_path / "model.pt")
    with pytest.raises(ConvscopeError, match="holds pickled objects"):
        load(write(), weights=tmp_path / "model.pt")
    net = load(write(), weights=tmp_path / "model.pt", trust_pickle=True)
    assert isinstance(net.module[0], nn.Flatten)
    assert not net.module.training


def test_a_head_of_another_size_is_the_last_linear_layer_or_else_the_last_convolution() -> None:
    """Oracle: the output."""
    from convscope.network.zoo import resize_head

    for factory in (nets.plain, nets.conv_relu_gap, nets.residual, heads.as_many_channels_as_classes):
        module = factory()
        before = dict(module.named_parameters())
        with torch.random.fork_rng(devices=[]):
            resize_head(module, 9)
        assert module(nets.images()).shape == (2, 9)
        new = [weight for name, weight in module.named_parameters() if weight is not before[name]]
        assert [len(weight) for weight in new] == [9, 9]
        bound = new[0][0].numel() ** -0.5  # He et al. 2015 as torch initialises: uniform, within 1 / sqrt(fan in)
        assert all(0 < weight.abs().max() <= bound for weight in new)
        watch(module)
    resize_head(nn.Flatten(), 9)
