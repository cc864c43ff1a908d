"""Ablation over data. Oracle: one whole pass a unit and image (``unit_ablation.ablated``), counted by hand."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from convscope.attribution.unit_ablation import ablated
from convscope.attribution.unit_values import layer_outputs
from convscope.dataset.ablation_sweep import AblationPlan, ablation_sweep
from convscope.dataset.data_means import unit_means_over
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.errors import ConvscopeError
from convscope.network.branching import Branch
from convscope.network.layers import recorded_outputs
from convscope.network.targets import Unit, class_logits
from convscope.synthesis.keeping import STATE
from tests import friendly, nets

PHOTOS = 11
HARD = (
    nets.gap_linear, nets.residual, nets.skip, nets.inplace_relu, nets.reused_inplace_relu, nets.view_write,
    nets.functional_inplace_relu, nets.conv_relu_gap, nets.norm_dropout, nets.shared_conv, nets.writes_input, nets.mlp,
)  # fmt: skip


@pytest.fixture
def source() -> ImageSource:
    return source_of([friendly.photo(20, 16, seed) for seed in range(PHOTOS)])


def labelled(source: ImageSource, classes: int = 5) -> list[tuple[str, int]]:
    return [(name, number % classes) for number, name in enumerate(source.names())]


def every_set(net, layers) -> tuple[tuple[Unit, ...], ...]:
    outputs = layer_outputs(net.module, nets.images(1, dtype=net.precision.dtype), layers)
    return tuple((Unit(layer, unit),) for layer in layers for unit in range(outputs[layer].shape[1]))


def by_hand(net, source, images, plan: AblationPlan):
    """Right answers before and without each set, a class each; the drops of the right logit, summed."""
    classes, sets = plan.classes, plan.sets
    before, without = np.zeros(classes, int), np.zeros((len(sets), classes), int)
    drops = np.zeros((len(sets), classes))

    def right(logits: Tensor, label: int) -> bool:
        return int(logits.argmax()) in plan.right[label]

    for name, label in images:
        x = net.input_of(source.read(name).image)
        intact = class_logits(ablated(net.module, x, [sets[0][0]], values={sets[0][0]: _own(net, x, sets[0][0])}))[0]
        before[label] += right(intact, label)
        for k, units in enumerate(sets):
            values = (
                None
                if plan.values is None
                else {unit: torch.tensor(plan.values[unit], dtype=torch.float64) for unit in units}
            )
            logits = class_logits(ablated(net.module, x, units, values=values))[0]
            without[k, label] += right(logits, label)
            r = list(plan.right[label])
            drops[k, label] += float(intact[r].double().logsumexp(0) - logits[r].double().logsumexp(0))
    return before, without, drops


def _own(net, x: Tensor, unit: Unit) -> Tensor:
    """The unit's own activation: the ablation that changes nothing."""
    output = layer_outputs(net.module, x, [unit.layer])[unit.layer]
    own = output.select(1, unit.unit)
    return own if unit.position is None else own[:, unit.position[0], unit.position[1]]


def check(effects, expected, *, atol: float) -> None:
    before, without, drops = expected
    np.testing.assert_array_equal(effects.right, before)
    np.testing.assert_array_equal(effects.right_without, without)
    np.testing.assert_allclose(effects.logit_drop, drops, rtol=0, atol=atol)


@pytest.mark.parametrize("factory", HARD)
@pytest.mark.parametrize(("images", "rows"), [(4, None), (1, 1), (3, 7)])
def test_equal_to_a_whole_pass_a_unit(factory, images: int, rows: int | None, source: ImageSource) -> None:
    net = friendly.network(factory, dtype=torch.float64)
    layers = [one.name for one in recorded_outputs(net.module, nets.images(1)) if one.output.shape[1] <= 8]
    sets = every_set(net, layers)[:: 1 if rows is None else 5]
    plan = AblationPlan(sets, right=((0,), (1,), (2, 3), (3,), (4,)), classes=5, images=images, rows=rows)
    jobs = labelled(source)[: PHOTOS if rows is None else 4]
    found = ablation_sweep(net, source, jobs, plan, threads=2)
    check(found.sums.compute(), by_hand(net, source, jobs, plan), atol=1e-10)


def test_the_mean_over_the_data_and_sets_of_several_layers(source: ImageSource) -> None:
    net = friendly.network(nets.residual, dtype=torch.float64)
    sets = ((Unit("conv2", 3), Unit("conv1", 1)), (Unit("down", 2),), (Unit("stem", 0), Unit("down", 2)))
    every = [unit for units in sets for unit in units]
    values = unit_means_over(net, source, labelled(source), every, batch=4)
    outputs = [layer_outputs(net.module, net.input_of(source.read(n).image), ["stem", "conv1", "conv2", "down"])
               for n in source.names()]  # fmt: skip
    for unit in every:
        maps = np.concatenate([one[unit.layer][:, unit.unit].numpy() for one in outputs])
        assert values[unit] == pytest.approx(maps.mean(), abs=1e-14)
    plan = AblationPlan(sets, values, tuple((i,) for i in range(5)), 5, images=4)
    check(
        ablation_sweep(net, source, labelled(source), plan).sums.compute(),
        by_hand(net, source, labelled(source), plan), atol=1e-10,
    )  # fmt: skip


def test_neurons(source: ImageSource) -> None:
    net = friendly.network(nets.residual, dtype=torch.float64)
    sets = ((Unit("conv2", 3, (1, 2)),), (Unit("conv2", 3),), (Unit("down", 1, (0, 0)), Unit("stem", 2, (5, 5))))
    plan = AblationPlan(sets, None, tuple((i,) for i in range(5)), 5, images=4)
    found = ablation_sweep(net, source, labelled(source), plan).sums.compute()
    check(found, by_hand(net, source, labelled(source), plan), atol=1e-10)


def test_below_a_mean_and_a_linear_layer_a_logit_drops_by_weight_times_mean(source: ImageSource) -> None:
    """Closed form: w_rk mean(A_k)."""
    net = friendly.network(nets.gap_linear)
    sets = every_set(net, ["relu2"])
    plan = AblationPlan(sets, right=tuple((i,) for i in range(5)), classes=5)
    found = ablation_sweep(net, source, labelled(source), plan).sums.compute()
    expected = np.zeros((len(sets), 5))
    weights = net.module.linear.weight.detach()
    for name, label in labelled(source):
        x = net.input_of(source.read(name).image)
        means = layer_outputs(net.module, x, ["relu2", "pool"])["pool"].flatten()
        expected[:, label] += (weights[label] * means).numpy()
    np.testing.assert_allclose(found.logit_drop, expected, rtol=0, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize(("factory", "layer"), [
    (nets.gap_linear, "relu2"), (nets.gap_linear, "conv2"), (nets.residual, "down"), (nets.conv_relu_gap, "relu2"),
])  # fmt: skip
def test_what_is_read_off_the_head_is_what_the_passes_give(
    factory, layer: str, source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means as values too; above the head's layer no pass is made but those of the proof."""
    net = friendly.network(factory, dtype=torch.float64)
    sets = every_set(net, [layer])
    values = {unit: 0.3 - 0.1 * unit.unit for (unit,) in sets}
    plan = AblationPlan(sets, values, tuple((i,) for i in range(5)), 5, images=4, rows=4)
    made = []
    above = Branch.above

    def counted(self, x, rows, edits):
        made.append(len(rows))
        return above(self, x, rows, edits)

    monkeypatch.setattr(Branch, "above", counted)
    found = ablation_sweep(net, source, labelled(source), plan).sums.compute()
    is_read_off = factory is not nets.conv_relu_gap
    assert (len(made) < 6) == is_read_off
    monkeypatch.setattr(Branch, "above", above)
    check(found, by_hand(net, source, labelled(source), plan), atol=1e-10)


def test_a_layer_that_something_else_uses_is_not_read_off(source: ImageSource) -> None:
    """The logits are those of the head while no unit is off: that one is shows by another path."""

    class Beside(torch.nn.Module):
        def __init__(self, inner) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            h = self.inner.conv2(self.inner.pool1(self.inner.relu1(self.inner.conv1(x))))
            gone = (h == 0).flatten(2).all(2).double().sum(1, keepdim=True)
            return self.inner.linear(h.relu().mean((2, 3))) + gone

    net = friendly.network(lambda **options: nets.building.watch(Beside(nets.gap_linear(**options)).eval()),
                           dtype=torch.float64)  # fmt: skip
    plan = AblationPlan(every_set(net, ["inner.conv2"]), None, tuple((i,) for i in range(5)), 5)
    found = ablation_sweep(net, source, labelled(source), plan).sums.compute()
    check(found, by_hand(net, source, labelled(source), plan), atol=1e-10)


def test_without_labels_what_the_network_answers_is_right(source: ImageSource) -> None:
    net = friendly.network(nets.residual, dtype=torch.float64)
    images = [(name, -1) for name in source.names()]
    own = [int(net.module(net.input_of(source.read(name).image)).argmax()) for name, _ in images]
    plan = AblationPlan(every_set(net, ["down"]), images=4)
    found = ablation_sweep(net, source, images, plan).sums.compute()
    np.testing.assert_array_equal(found.images, np.bincount(own, minlength=5))
    np.testing.assert_array_equal(found.right, found.images)
    judged = AblationPlan(plan.sets, right=tuple((i,) for i in range(5)), classes=5)
    named = [(name, answer) for (name, _), answer in zip(images, own, strict=True)]
    check(found, by_hand(net, source, named, judged), atol=1e-10)
    grouped = ablation_sweep(net, source, labelled(source, 2), AblationPlan(plan.sets, classes=2, images=4))
    np.testing.assert_array_equal(grouped.sums.compute().images, [6, 5])
    np.testing.assert_array_equal(grouped.sums.compute().right_without.sum(1), found.right_without.sum(1))


def parts_of(values: list[bytes], size: int) -> list[list[bytes]]:
    return [values[at : at + size] for at in range(0, len(values), size)]


def bits(found) -> list[bytes]:
    return [array.tobytes() for array in found.sums.tensors().values()]


def test_the_same_bits_for_any_number_of_threads(source: ImageSource) -> None:
    net = friendly.network(nets.residual)
    plan = AblationPlan(every_set(net, ["conv2", "down"]), right=tuple((i,) for i in range(5)), classes=5, images=2)
    first, *others = [ablation_sweep(net, source, labelled(source), plan, threads=threads) for threads in (1, 2, 5)]
    digest = b""
    for some in parts_of([source.digest(name) for name in source.names()], 2):
        digest = hashlib.sha256(digest + b"".join(some)).digest()
    for other in others:
        assert bits(other) == bits(first)
        assert other.digest == first.digest == digest


class Keeper:
    """Keeps in memory, and breaks off after so many times."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, {}

    def kept(self, key: str):
        return self.held.get(key)

    def keep(self, key: str, tensors) -> None:
        self.held[key] = {name: tensor.clone() for name, tensor in tensors.items()}
        self.most -= 1
        if not self.most:
            raise KeyboardInterrupt

    def forget(self, key: str) -> None:
        self.held.pop(key, None)

    def is_due(self) -> bool:
        return True


@pytest.mark.parametrize("most", [1, 3, 5])
def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(source: ImageSource, most: int, tmp_path) -> None:
    net = friendly.network(nets.residual)
    for number in range(7):
        friendly.photo(20, 16, number).save(tmp_path / f"{number}.png")
    (tmp_path / "0b.png").write_text("no picture")
    source = source_of(tmp_path)
    plan = AblationPlan(every_set(net, ["down"]), right=tuple((i,) for i in range(5)), classes=5, images=1)
    whole = ablation_sweep(net, source, labelled(source), plan, threads=2)
    keeper, steps = Keeper(most), []
    with pytest.raises(KeyboardInterrupt):
        ablation_sweep(net, source, labelled(source), plan, threads=2, keeper=keeper)
    assert list(keeper.held) == ["effects" + STATE]
    found = ablation_sweep(net, source, labelled(source), plan, keeper=keeper, on_step=steps.append)
    assert steps == list(range(most + 1, 9))
    assert bits(found) == bits(whole)
    assert (found.refused, found.digest) == (whole.refused, whole.digest)
    assert list(found.refused) == ["0b.png"]


def test_images_that_cannot_be_used_are_left_out_and_the_others_are_as_without_them(tmp_path) -> None:
    """Unreadable, too elongated, and one for which the network's logits are not finite."""

    class Blinded(torch.nn.Module):
        def __init__(self, inner) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            bright = x.amax((1, 2, 3)) >= white
            return self.inner(x) + torch.where(bright, torch.nan, 0.0)[:, None].to(x)

    for number in range(5):
        friendly.photo(20, 16, number).point(lambda v: min(v, 250)).save(tmp_path / f"{number}.png")
    good = source_of(tmp_path)
    images = list(good.names())
    net = friendly.network(lambda **options: nets.building.watch(Blinded(nets.residual(**options)).eval()))
    white = float(net.input_of(Image.new("RGB", (12, 12), "white")).max())
    plan = AblationPlan(every_set(net, ["inner.down"]), classes=1, images=4)
    expected = ablation_sweep(net, good, [(name, 0) for name in images], plan).sums.compute()
    (tmp_path / "0b.png").write_text("no picture")
    Image.new("RGB", (20, 20), "white").save(tmp_path / "1b.png")
    source = source_of(tmp_path)
    found = ablation_sweep(net, source, [(name, 0) for name in source.names()], plan)
    assert list(found.refused) == ["0b.png", "1b.png"]
    assert "no picture" in found.refused["0b.png"] or "not a picture" in found.refused["0b.png"]
    assert found.refused["1b.png"] == "the network's logits for it are NaN or infinite"
    for name in ("images", "right", "right_without", "changed"):
        np.testing.assert_array_equal(getattr(found.sums.compute(), name), getattr(expected, name))
    np.testing.assert_allclose(found.sums.compute().logit_drop, expected.logit_drop, rtol=0, atol=1e-5)


def test_images_of_several_sizes(source: ImageSource) -> None:
    net = friendly.network(nets.residual, dtype=torch.float64, preprocess=friendly.Preprocess(size=None, crop=None))
    photos = source_of([friendly.photo(*size, seed) for seed, size in enumerate(itertools.product((12, 16), (12, 15)))])
    plan = AblationPlan(every_set(net, ["conv2"]), right=tuple((i,) for i in range(5)), classes=5)
    found = ablation_sweep(net, photos, labelled(photos), plan)
    check(found.sums.compute(), by_hand(net, photos, labelled(photos), plan), atol=1e-10)


def test_where_nothing_can_be_used_it_is_said_early(tmp_path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_text("no picture")
    net, source, steps = friendly.network(nets.residual), source_of(tmp_path), []
    plan = AblationPlan(((Unit("down", 0),),), images=2)
    with pytest.raises(ConvscopeError, match=r"^00.png cannot be used: .* picture.*, nor can the 5 others before any"):
        ablation_sweep(net, source, labelled(source), plan, on_step=steps.append)
    assert steps[-1] == 6


def test_means_leave_out_what_is_not_finite(source: ImageSource) -> None:
    class Spoilt(torch.nn.Module):
        def __init__(self, inner) -> None:
            super().__init__()
            self.inner, self.spoil = inner, torch.nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            h = x.clone()
            h[:, 0, 0, 0] = torch.inf
            h[:, 1] = torch.nan
            self.spoil(h)
            return self.inner(x)

    net = friendly.network(lambda **options: nets.building.watch(Spoilt(nets.residual(**options)).eval()))
    means = unit_means_over(net, source, labelled(source), [Unit("spoil", 0)])
    x = torch.cat([net.input_of(source.read(name).image) for name in source.names()]).double()
    rest = x[:, 0].flatten(1)[:, 1:]
    assert means[Unit("spoil", 0)] == pytest.approx(float(rest.mean()), abs=1e-12)
    with pytest.raises(ConvscopeError, match="unit spoil:1 has no finite value on any image"):
        unit_means_over(net, source, labelled(source), [Unit("spoil", 1)])


def test_a_trained_network_loses_the_same_answers(resnet20, shared) -> None:
    """CIFAR-10 ResNet-20, inside a block: counts that differ from unit to unit, and some of them are won."""
    from convscope.network.loading import Network
    from convscope.network.preprocessing import Preprocess

    folder = shared / "data" / "cifar10_test"
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    net = Network(resnet20, Preprocess(32, 32), classes, "ResNet-20")
    source = source_of(folder)
    images = [(name, classes.index(name.split("/")[0])) for name in itertools.islice(source.names(), 0, None, 25)]
    inner = [(Unit("layer3.2.conv1", unit),) for unit in (8, 9, 13, 20)]
    sets = (*inner, (Unit("layer1", 2), Unit("layer2", 5)))
    plan = AblationPlan(sets, right=tuple((i,) for i in range(10)), classes=10)
    found = ablation_sweep(net, source, images, plan).sums.compute()
    check(found, by_hand(net, source, images, plan), atol=1e-3)
    assert len(set(found.right_without.sum(1).tolist())) > 1
    assert found.won.sum() > 0


def test_where_memory_is_short_fewer_copies_are_run_at_once(
    source: ImageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten rows fit, as they do on no machine; then not even one batch of images, which then go through alone."""
    net = friendly.network(nets.residual, dtype=torch.float64)
    plan = AblationPlan(every_set(net, ["conv2"]), right=tuple((i,) for i in range(5)), classes=5, images=4)
    expected = by_hand(net, source, labelled(source), plan)
    above, tried, fits = Branch.above, [], 10

    def short(self, x, rows, edits):
        tried.append(len(rows))
        if len(rows) > fits:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return above(self, x, rows, edits)

    monkeypatch.setattr(Branch, "above", short)
    found = ablation_sweep(net, source, labelled(source), plan, threads=1).sums.compute()
    check(found, expected, atol=1e-10)
    assert sum(rows > fits for rows in tried) == 2  # 8 sets of 4, then 4 of 4; 2 of 4 fit, from then on
    fits = 3
    check(ablation_sweep(net, source, labelled(source), plan, threads=1).sums.compute(), expected, atol=1e-10)
    fits = 0
    with pytest.raises(ConvscopeError, match="memory"):
        ablation_sweep(net, source, labelled(source), plan, threads=1)
