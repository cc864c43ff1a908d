"""The loop. Oracles: gradient descent written out by hand in float64; the training that was never broken off."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.store.checked_tensors import read_tensors
from convscope.store.run_folder import CHECKPOINT, WEIGHTS
from convscope.training.checkpoints import arrays_of, finished_facts
from convscope.training.fitting import DivergedError, batches_of, fit
from convscope.training.probe import Probe
from convscope.training.random_states import randomness_of, state_of
from convscope.training.recipe import MOMENTUM, Recipe
from convscope.training.run_data import RunData, Split
from convscope.writing import UnwritableError
from tests.nets.building import CLASSES, images
from tests.training.training_nets import HARD, SIDE

BRIEF = Recipe(epochs=3, batch=4, learning_rate=1e-2)


def some_data(count: int = 11, classes: int = CLASSES) -> RunData:
    sides = []
    for seed in (0, 1):
        x = images(count, seed=seed, dtype=torch.float32)
        sides.append(Split(x, torch.arange(count) % classes, tuple(f"{k:02}" for k in range(count))))
    return RunData(*sides, tuple(map(str, range(classes))), fingerprint="some")


class Dropping(nn.Module):
    """Dropout, batch norm and a layer that draws from numpy: whatever is random in a user's network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(x)).relu().mean((2, 3))
        h = h * float(np.random.rand()) if self.training else h
        return self.head(self.drop(h))


def dropping(seed: int = 0) -> nn.Module:
    with randomness_of(seed, 0):
        return Dropping()


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


# ---- the numbers


def test_it_is_gradient_descent_with_momentum_and_the_cosine_rate() -> None:
    data, recipe = some_data(), replace(BRIEF, optimiser="sgd", seed=7, epochs=2)
    with randomness_of(3, 0):
        net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, CLASSES)).double()
    layer = net[1]
    w, b = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()
    result = fit(net, data, recipe=recipe)
    w, b = by_hand(w, b, data, recipe)
    np.testing.assert_allclose(layer.weight.detach().numpy(), w, rtol=1e-10)
    np.testing.assert_allclose(layer.bias.detach().numpy(), b, rtol=1e-10)
    z = data.held_out.images.reshape(11, -1).double().numpy() @ w.T + b
    assert result.score == np.mean(z.argmax(1) == data.held_out.labels.numpy())
    logs = np.log(np.exp(z).sum(1)) - z[np.arange(11), data.held_out.labels.numpy()]
    assert result.history[-1].loss == pytest.approx(logs.mean(), rel=1e-6)


def by_hand(w: np.ndarray, b: np.ndarray, data: RunData, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Softmax regression: the gradient of the loss is (p - 1[y]) x / b."""
    x, y = data.train.images.reshape(len(data.train), -1).double().numpy(), data.train.labels.numpy()
    speed_w, speed_b, step = np.zeros_like(w), np.zeros_like(b), 0
    for epoch in (1, 2):
        order = torch.randperm(11, generator=torch.Generator().manual_seed(state_of(7, epoch))).numpy()
        for rows in (order[:4], order[4:8], order[8:]):
            z = x[rows] @ w.T + b
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
            p[np.arange(len(rows)), y[rows]] -= 1
            speed_w = MOMENTUM * speed_w + p.T @ x[rows] / len(rows)
            speed_b = MOMENTUM * speed_b + p.mean(0)
            rate = recipe.learning_rate / 2 * (1 + math.cos(math.pi * step / 6))
            w, b, step = w - rate * speed_w, b - rate * speed_b, step + 1
    return w, b


def test_an_image_that_is_left_over_joins_the_last_batch() -> None:
    sizes = [len(part) for part in batches_of(torch.arange(9), 4)]
    assert sizes == [4, 5]  # a batch norm cannot learn from one image
    assert [len(part) for part in batches_of(torch.arange(10), 4)] == [4, 4, 2]
    assert [len(part) for part in batches_of(torch.arange(1), 4)] == [1]


@pytest.mark.global_rng
def test_the_seed_alone_decides() -> None:
    results = []
    for seed, drawn in ((0, 0), (0, 5), (1, 0)):
        net = dropping()
        torch.rand(drawn)
        np.random.rand(drawn)
        fit(net, some_data(), recipe=replace(BRIEF, seed=seed))
        results.append(arrays_of(net))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize("name", HARD)
def test_hard_nets_learn_the_same_watched_or_not_and_get_their_flags_back(name: str, tmp_path: Path) -> None:
    data, found = small_data(), []
    for watched in (False, True):
        net = hard(name)
        flags, before = [module.training for module in net.modules()], arrays_of(net)
        probe = (lambda net=net: Probe(net, None, data)) if watched else None
        with torch.inference_mode():
            fit(net, data, tmp_path / str(watched), BRIEF, probe=probe)
        assert not same(before, arrays_of(net))
        assert [module.training for module in net.modules()] == flags
        found.append((tmp_path / str(watched) / CHECKPOINT).read_bytes())
    assert found[0] == found[1]


def hard(name: str) -> nn.Module:
    with randomness_of(0, 0):
        return HARD[name]()


def small_data() -> RunData:
    x, y = images(9, 1, SIDE, SIDE, dtype=torch.float32), torch.arange(9) % 3
    split = Split(x, y, tuple(map(str, range(9))))
    return RunData(split, split, ("a", "b", "c"), fingerprint="small")


def test_a_part_in_evaluation_mode_stays_there() -> None:
    """Its batch norm has the statistics that it had."""
    net = hard("one part in eval")
    norm = list(net.children())[1]
    before = norm.running_mean.clone()
    fit(net, small_data(), recipe=BRIEF)
    assert torch.equal(norm.running_mean, before)


# ---- broken off and gone on with


class Stop(KeyboardInterrupt):
    pass


def stopping(at: int):
    def on_epoch(score) -> None:
        if score.epoch == at:
            raise Stop

    return on_epoch


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("augment", ["none", "shifts-and-flips"])
def test_gone_on_with_it_ends_as_without_a_break(tmp_path: Path, at: int, augment: str) -> None:
    data, recipe = some_data(), replace(BRIEF, augment=augment)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = fit(dropping(), data, whole, recipe)
    first = dropping()
    with pytest.raises(Stop):
        fit(first, data, broken, recipe, on_epoch=stopping(at))
    assert same(arrays_of(first), read_tensors(broken / WEIGHTS))
    assert finished_facts(broken)["epoch"] == at
    again = fit(dropping(seed=9), data, broken, recipe, resume=True)  # whatever the first weights are now
    assert (broken / CHECKPOINT).read_bytes() == (whole / CHECKPOINT).read_bytes()
    assert (broken / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert again.history == unbroken.history
    assert torch.equal(again.confusion, unbroken.confusion)


def test_interrupted_within_an_epoch_it_has_the_weights_of_the_last_whole_one(tmp_path: Path) -> None:
    net = dropping()

    def on_step(done: int, every: int) -> None:
        assert every == 9
        if done == 5:  # the second of three batches of the second epoch
            raise Stop

    with pytest.raises(Stop):
        fit(net, some_data(), tmp_path, BRIEF, on_step=on_step)
    kept = dropping()
    with pytest.raises(Stop):
        fit(kept, some_data(), None, BRIEF, on_epoch=stopping(1))
    assert same(arrays_of(net), arrays_of(kept))
    assert same(arrays_of(net), read_tensors(tmp_path / WEIGHTS))


def test_weights_that_a_kill_has_prevented_are_written(tmp_path: Path) -> None:
    data = some_data()
    fit(dropping(), data, tmp_path, BRIEF)
    right = (tmp_path / WEIGHTS).read_bytes()
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(right[:50])):
        damage(tmp_path / WEIGHTS)
        fit(dropping(), data, tmp_path, BRIEF, resume=True)
        assert (tmp_path / WEIGHTS).read_bytes() == right


@pytest.mark.parametrize("name", [name for name in HARD if name != "restless"])  # it counts where no file looks
def test_hard_nets_go_on(name: str, tmp_path: Path) -> None:
    data = small_data()
    fit(hard(name), data, tmp_path / "whole", BRIEF)
    with pytest.raises(Stop):
        fit(hard(name), data, tmp_path / "broken", BRIEF, on_epoch=stopping(1))
    fit(hard(name), data, tmp_path / "broken", BRIEF, resume=True)
    assert (tmp_path / "broken" / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.5}, "was begun with learning-rate 0.01, not with 0.5"),
        ({"epochs": 4}, "was begun with epochs 3, not with 4"),
        ({"seed": 1}, "seed 0, not with 1"),
    ],
)
def test_another_recipe_is_refused(tmp_path: Path, change, said: str) -> None:
    fit(dropping(), some_data(), tmp_path, BRIEF)
    with pytest.raises(ConvscopeError, match=said):
        fit(dropping(), some_data(), tmp_path, replace(BRIEF, **change), resume=True)


def test_other_data_and_damage_are_refused(tmp_path: Path) -> None:
    fit(dropping(), some_data(), tmp_path, BRIEF)
    with pytest.raises(ConvscopeError, match="other data"):
        fit(dropping(), replace(some_data(), fingerprint="else"), tmp_path, BRIEF, resume=True)
    content = bytearray((tmp_path / CHECKPOINT).read_bytes())
    content[-1] ^= 1
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(ConvscopeError, match="damaged"):
        fit(dropping(), some_data(), tmp_path, BRIEF, resume=True)


# ---- what goes wrong


class Poisoned(nn.Module):
    """Gives NaN from the given training batch on."""

    def __init__(self, net: nn.Module, at: int) -> None:
        super().__init__()
        self.net, self.left = net, at

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return self.net(x) * (math.nan if self.left < 0 else 1)


@pytest.mark.parametrize(("at", "epoch", "batch"), [(1, 1, 2), (3, 2, 1), (8, 3, 3)])
def test_a_loss_that_is_not_finite_stops_it(tmp_path: Path, at: int, epoch: int, batch: int) -> None:
    net = Poisoned(dropping(), at)
    with pytest.raises(DivergedError, match=f"epoch {epoch}, batch {batch} of 3") as caught:
        fit(net, some_data(), tmp_path, BRIEF)
    assert (caught.value.epoch, caught.value.batch) == (epoch, batch)
    kept = arrays_of(dropping())
    if epoch > 1:
        good = dropping()
        with pytest.raises(Stop):
            fit(good, some_data(), None, BRIEF, on_epoch=stopping(epoch - 1))
        kept = arrays_of(good)
    assert same(arrays_of(net.net), kept)
    assert same(read_tensors(tmp_path / WEIGHTS), {f"net.{name}": values for name, values in kept.items()})
    assert finished_facts(tmp_path)["epoch"] == epoch - 1


def test_a_network_that_gives_nan_from_the_first_is_not_said_to_learn_too_fast() -> None:
    with pytest.raises(DivergedError, match=r"in epoch 1, batch 1 of 3: .* so the network itself gives that"):
        fit(Poisoned(dropping(), 0), some_data(), None, BRIEF)


def test_weights_that_the_last_step_spoilt_are_not_kept(tmp_path: Path) -> None:
    """One batch: the loss was finite before the step, and nothing after it."""
    recipe = Recipe(epochs=1, batch=64, learning_rate=1e38, optimiser="sgd")
    with pytest.raises(DivergedError, match=r"in epoch 1, batch 1 of 1: .* a learning rate below 1e\+38 may do"):
        fit(dropping(), some_data(), tmp_path, recipe)
    assert finished_facts(tmp_path)["epoch"] == 0
    assert all(np.isfinite(values).all() for values in read_tensors(tmp_path / WEIGHTS).values())


@pytest.mark.parametrize("file", [CHECKPOINT, WEIGHTS])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    data = some_data()
    fit(dropping(), data, tmp_path / "whole", BRIEF)
    folder = tmp_path / "full"
    with monkeypatch.context() as patched, pytest.raises(UnwritableError, match="No space left"):
        fit(dropping(), data, folder, BRIEF, on_epoch=filling_the_disk(patched, file))
    epoch = finished_facts(folder)["epoch"]
    assert epoch == (1 if file == CHECKPOINT else 2)
    assert sorted(path.name for path in folder.iterdir()) == sorted([CHECKPOINT, WEIGHTS])
    fit(dropping(), data, folder, BRIEF, resume=True)
    assert (folder / CHECKPOINT).read_bytes() == (tmp_path / "whole" / CHECKPOINT).read_bytes()
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


def filling_the_disk(patched: pytest.MonkeyPatch, file: str):
    """From the end of the first epoch on there is room for some bytes of that file only."""
    import convscope.store.checked_tensors as writer

    real = writer.file_aside

    def aside(path: Path, **options):
        opened = real(path, **options)
        if path.name != file:
            return opened
        enter = opened.__enter__

        class Full:
            def __enter__(self):
                self.file = enter()
                return self

            def write(self, content: bytes) -> None:
                self.file.write(bytes(content)[:10])
                raise OSError(28, "No space left on device")

            def __exit__(self, *error):
                return opened.__exit__(*error)

        return Full()

    def on_epoch(score) -> None:
        patched.setattr(writer, "file_aside", aside)

    return on_epoch


# ---- the probe, and what does not fit


def test_watched_or_not_it_ends_at_the_same_weights(tmp_path: Path) -> None:
    data = some_data()
    for name, watched in (("with", True), ("without", False)):
        net = dropping()
        probe = (lambda net=net: Probe(net, ["conv"], data, units=["conv:1"])) if watched else None
        fit(net, data, tmp_path / name, BRIEF, probe=probe)
    assert (tmp_path / "with" / CHECKPOINT).read_bytes() == (tmp_path / "without" / CHECKPOINT).read_bytes()


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 3)), r"gives \(11, 3\) for 11 images; of 5 classes"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(7, 5)), "cannot take inputs of 3x12x12"),
        (lambda: nn.Flatten(), "nothing in the network can learn"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path, net, said: str) -> None:
    with randomness_of(0, 0):
        made = net()
    with pytest.raises(ConvscopeError, match=said):
        fit(made, some_data(), tmp_path / "out", BRIEF)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"batch": 0}, {"threads": 0}, {"learning_rate": 0.0}, {"learning_rate": math.nan},
        {"weight_decay": -1.0}, {"optimiser": "adma"}, {"rate": "cosin"}, {"augment": "flips"}, {"seed": -1},
    ],
)  # fmt: skip
def test_recipes_that_mean_nothing_are_refused(wrong) -> None:
    with pytest.raises(ConvscopeError):
        Recipe(**wrong)
