"""What every test gets: shapes checked at run time, one thread, real data where present, nothing left behind."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from jaxtyping import install_import_hook

# before anything imports convscope: only modules imported after the hook have their annotations checked
assert "convscope" not in sys.modules, "convscope was imported before the jaxtyping hook: its shapes go unchecked"
install_import_hook("convscope", "beartype.beartype")
os.environ["MPLBACKEND"] = "Agg"  # no test opens a window

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from tests import untouched as trace  # noqa: E402
from tests.untouched import Untouched  # noqa: E402

# two workers share two cores; one thread each also makes sums run in one order
torch.set_num_threads(1)
settings.register_profile("convscope", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("convscope")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def untouched(request: pytest.FixtureRequest) -> Iterator[Untouched]:
    """The model is as it was, and so is torch: oracle of every test, asked for or not."""
    random_state = request.node.get_closest_marker("global_rng") is None
    before = trace.look_around(random_state=random_state)
    yield Untouched()
    lines = [*trace.traces(), *trace.differences(before, trace.look_around(random_state=random_state))]
    trace.forget_all()
    hint = "a test that draws from torch's global random state itself (an inline nn.Conv2d, torch.randn without a "
    hint += "generator) takes its nets and images from tests/nets.py instead, or is marked `global_rng`"
    if any("random state" in line for line in lines):
        lines.append(hint)
    if lines:
        pytest.fail("not as it was before the test:\n  " + "\n  ".join(lines), pytrace=False)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of randomness that is not torch's global one."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos, which is no part of the project; skips where it is absent."""
    folder = Path(os.environ.get("CONVSCOPE_SHARED") or REPOSITORY.parent / "shared").resolve()
    if not (folder / "models").is_dir():
        pytest.skip(f"no real data: {folder}/models is absent (CONVSCOPE_SHARED names another folder)")
    return folder


@pytest.fixture
def squeezenet(shared: Path) -> nn.Module:
    """torchvision's SqueezeNet 1.0 with its ImageNet weights: 61.2 % top-1 on 1,000 photos, module ReLUs in place."""
    from torchvision.models import squeezenet1_0

    return _with_weights(squeezenet1_0, shared / "models" / "squeezenet1_0_imagenet.safetensors")


@pytest.fixture
def resnet20(shared: Path) -> nn.Module:
    """The CIFAR-10 ResNet-20: a user's own model, functional ReLUs, shortcuts without parameters."""
    source = _module_at(shared / "models" / "cifar_resnet.py")
    return _with_weights(source.resnet20, shared / "models" / "cifar10_resnet20.safetensors")


def _with_weights(factory, weights: Path) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # building draws initial weights from the global state
        model = factory()
    model.load_state_dict(load_file(weights))
    return trace.watch(model.eval())


def _module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
