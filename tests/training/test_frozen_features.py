"""Features computed once. Oracles: the layer and the pooling by hand, counted passes, an unbroken run."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.headed import HEADS, HeadedNet, put_head
from convscope.network.layers import find_call
from convscope.store.parts import PARTS
from convscope.training import frozen_features as module
from convscope.training.fitting import fit
from convscope.training.frozen_features import FEATURES, frozen_features, remove_features
from convscope.training.judging import judged
from convscope.training.recipe import Recipe
from convscope.training.run_data import RunData, Split
from convscope.writing import UnwritableError
from tests import nets
from tests.untouched import watch

PART, BATCH = 8, 3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_A_PART", PART)


def split(count: int, seed: int) -> Split:
    """Three classes that a grey level tells apart."""
    labels = torch.arange(count) % 3
    x = nets.images(count, seed=seed).float() * 0.3 + (labels.float() - 1)[:, None, None, None]
    return Split(x, labels, tuple(f"{label}/{number}.png" for number, label in enumerate(labels.tolist())))


def data() -> RunData:
    return RunData(split(20, 1), split(11, 2), ("0", "1", "2"), None, "levels", fingerprint="f0")


def headed(kind: str = "mean", layer: str = "conv2", seed: int = 0) -> HeadedNet:
    return put_head(nets.inplace_relu(dtype=torch.float32, seed=seed), layer, kind, 3, nets.images().float())


@contextmanager
def counted(net: HeadedNet) -> Iterator[list[int]]:
    """Images that each pass showed the base."""
    seen: list[int] = []
    handle = find_call(net.base, "conv1").module.register_forward_hook(lambda *given: seen.append(len(given[-1])))
    yield seen
    handle.remove()


def by_hand(net: HeadedNet, images: Tensor) -> Tensor:
    """In the same batches: a convolution's last bits depend on them."""
    with evaluation(net), torch.no_grad():
        parts = [part.split(BATCH) for part in images.split(PART)]
        return torch.cat([net.head[0](net.features(x)) for part in parts for x in part])


@pytest.mark.parametrize("kind", HEADS)
def test_they_are_the_pooled_output_of_the_layer(tmp_path: Path, kind: str) -> None:
    """Oracle: by hand, to the last bit; labels and ids as they were."""
    net, given = headed(kind), data()
    found = frozen_features(net, given, tmp_path, batch=BATCH)
    for name, side in found.sides().items():
        before = given.sides()[name]
        x, labels = side.batch(torch.arange(len(side)))
        assert torch.equal(x, by_hand(net, before.images))  # type: ignore[arg-type]
        assert torch.equal(labels, before.labels)
        assert side.ids == before.ids
        assert torch.equal(side[4][0], x[4])


def test_every_image_passes_once(tmp_path: Path) -> None:
    """Oracle: a count of what the base's first layer saw, the second time none; the steps add up."""
    net, given = headed(), data()
    steps: list[tuple[int, int]] = []
    with counted(net) as seen:
        frozen_features(net, given, tmp_path, batch=BATCH, on_step=lambda *step: steps.append(step))
        assert sum(seen) == 31
        assert max(seen) == BATCH
        frozen_features(net, given, tmp_path, batch=BATCH)
    assert sum(seen) == 31
    assert steps == sorted(steps)
    assert steps[-1] == (31, 31)
    assert [path.suffix for path in (tmp_path / FEATURES).rglob("*") if path.is_file()] == [".safetensors"]


KILLED = f"""
import os, signal, sys
from pathlib import Path
from tests.training import test_frozen_features as t
t.module._A_PART = {PART}
def step(done, total):
    if done > 18:
        os.kill(os.getpid(), signal.SIGKILL)
t.frozen_features(t.headed(), t.data(), Path(sys.argv[1]), batch={BATCH}, on_step=step)
"""


def test_after_a_kill_only_the_rest_is_computed(tmp_path: Path) -> None:
    """Oracle: an unbroken run to the last bit, and the count: 16 of 31 images lie in whole parts."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / FEATURES / PARTS).glob("0*.safetensors"))) == 2
    net = headed()
    with counted(net) as seen:
        found = frozen_features(net, data(), tmp_path, batch=BATCH)
    assert sum(seen) == 31 - 2 * PART
    assert torch.equal(found.train.batch(torch.arange(20))[0], by_hand(net, data().train.images))  # type: ignore[arg-type]


def test_a_damaged_part_is_computed_again(tmp_path: Path) -> None:
    """Oracle: the bits of an unbroken run."""
    net, given = headed(), data()
    module._compute(net, given.sides(), tmp_path / FEATURES, module._key(net, "f0"), BATCH, module._unheard)
    part = tmp_path / FEATURES / PARTS / "00001.safetensors"
    content = bytearray(part.read_bytes())
    content[-3] ^= 1
    part.write_bytes(content)
    with counted(net) as seen:
        found = frozen_features(net, given, tmp_path, batch=BATCH)
    assert sum(seen) == PART
    assert torch.equal(found.train.batch(torch.arange(20))[0], by_hand(net, given.train.images))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        lambda: (headed(seed=1), data()),
        lambda: (headed(layer="relu1"), data()),
        lambda: (headed("flat"), data()),
        lambda: (headed(), RunData(split(20, 1), split(11, 2), ("0", "1", "2"), None, "levels", fingerprint="f1")),
    ],
)
def test_those_of_another_base_layer_pooling_or_data_are_not_taken(tmp_path: Path, other) -> None:
    """Oracle: the count; the old file goes."""
    first = frozen_features(headed(), data(), tmp_path)
    net, given = other()
    with counted(net) as seen:
        found = frozen_features(net, given, tmp_path)
    assert sum(seen) == 31
    assert found.fingerprint != first.fingerprint
    assert len(list((tmp_path / FEATURES).glob("*.safetensors"))) == 1


def test_numbers_that_are_not_finite_are_refused_by_the_image(tmp_path: Path) -> None:
    """Oracle: the image's id; what was computed before it stays."""
    given = data()
    given.train.images[13] = float("nan")  # type: ignore[index]
    with pytest.raises(ConvscopeError, match=r"'conv2' gives numbers that are NaN or infinite for 1/13\.png"):
        frozen_features(headed(), given, tmp_path, batch=BATCH)
    assert [path.name for path in (tmp_path / FEATURES).rglob("*.safetensors")] == ["00000.safetensors"]


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the parts that were written, and the count when there is room again."""
    real, calls = module.write_part, list[int]()

    def full(*given):
        calls.append(1)
        if len(calls) == 3:
            raise UnwritableError("cannot write: No space left on device")
        return real(*given)

    monkeypatch.setattr(module, "write_part", full)
    with pytest.raises(UnwritableError, match="No space left"):
        frozen_features(headed(), data(), tmp_path, batch=BATCH)
    net = headed()
    with counted(net) as seen:
        frozen_features(net, data(), tmp_path, batch=BATCH)
    assert sum(seen) == 31 - 2 * PART


def test_a_head_is_fitted_on_them_and_the_whole_is_written(tmp_path: Path) -> None:
    """Oracle: the whole network on the images: the same score; the base's weights in the file are the base's."""
    base = nets.inplace_relu(dtype=torch.float32)
    net, given = headed(), data()
    with counted(net) as seen:
        shown = frozen_features(net, given, tmp_path)
        result = fit(net.on_features(), shown, tmp_path, Recipe(epochs=40, batch=5, learning_rate=0.05))
        assert sum(seen) == 31
    whole = judged(net, given.held_out, given.classes)
    assert whole.accuracy == result.score == 1
    assert whole.loss == pytest.approx(result.history[-1].loss, rel=1e-5)
    again = headed(seed=5)
    from safetensors.torch import load_file

    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    x = nets.images().float()
    assert torch.equal(again(x), net(x))
    assert torch.equal(again.base.get_submodule("conv2").weight, base.get_submodule("conv2").weight)
    assert all(p.grad is None for p in net.base.parameters())
    remove_features(tmp_path)
    assert not (tmp_path / FEATURES).exists()


@pytest.mark.parametrize(("optimiser", "tolerance"), [("sgd", 0), ("adam", 1e-3)])
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("factor", [64, 1 / 64])
def test_the_scale_of_the_base_does_not_matter(
    tmp_path: Path, kind: str, optimiser: str, tolerance: float, factor: float
) -> None:
    """Oracle: a base whose last map is 64 times as large, or small: the same losses, with SGD to the last bit.

    Adam divides by sqrt(v) + eps, of which eps does not scale.
    """
    losses: list[list[float]] = []
    for times in (1, factor):
        base = nets.inplace_relu(dtype=torch.float32)
        with torch.no_grad():
            for parameter in base.get_submodule("conv2").parameters():
                parameter.mul_(times)
        net = put_head(watch(base), "conv2", kind, 3, nets.images().float())
        shown = frozen_features(net, data(), tmp_path / str(times))
        recipe = Recipe(epochs=3, batch=5, learning_rate=1e-3, optimiser=optimiser, weight_decay=0.01)
        result = fit(net.on_features(), shown, None, recipe)
        losses.append([each.loss for each in result.history])
        assert judged(net, data().held_out, data().classes).loss == pytest.approx(losses[-1][-1], rel=1e-5)
    assert losses[1] == pytest.approx(losses[0], rel=tolerance, abs=0)
    assert losses[0][0] != losses[0][-1]


def test_the_scale_is_set_once(tmp_path: Path) -> None:
    """Oracle: by hand: the mean sum over 100, as a power of two; a second time changes nothing."""
    net = headed()
    before = net.head.get_submodule("linear").weight.detach().clone()
    for _ in range(2):
        shown = frozen_features(net, data(), tmp_path)
        mean = float(shown.train.batch(torch.arange(20))[0].abs().sum((1, 2, 3)).mean())
        scale = 2.0 ** round(np.log2(mean / 100))
        assert torch.equal(net.head.get_submodule("linear").weight, before / scale)


def test_a_training_does_not_go_on_with_another_base(tmp_path: Path) -> None:
    """Oracle: the refusal; else the old base's weights would come back under the new one's features."""
    recipe = Recipe(epochs=1, batch=5)
    net = headed()
    fit(net.on_features(), frozen_features(net, data(), tmp_path), tmp_path, recipe)
    other = headed(seed=1)
    with pytest.raises(ConvscopeError, match="begun with other data"):
        fit(other.on_features(), frozen_features(other, data(), tmp_path), tmp_path, recipe, resume=True)
