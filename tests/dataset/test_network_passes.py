"""Odd photos, other sizes, too little memory: the others' numbers are those of a sweep without them."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope.dataset import network_passes
from convscope.dataset.image_rows import ImageRows
from convscope.dataset.plan import Shard
from convscope.dataset.sweep import sweep
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from tests import nets
from tests.dataset.small_survey import Photos, Picky, network, noise, plan_of, shards_of
from tests.untouched import watch

LAYERS = ("conv1", "relu2", "linear2")


def swept(net, source, layers=LAYERS, *, without=(), **fields) -> dict[str, np.ndarray]:
    plan = plan_of(source, layers, **fields)
    (shard,) = shards_of(source, plan)
    kept = tuple(image for image in shard.images if image.name not in without)
    return sweep(net, source, plan, Shard(0, kept))


def close(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """All but the images' rows, within float32 rounding."""
    names = [name for name in first if not name.startswith("images/")]
    assert names == [name for name in second if not name.startswith("images/")]
    for name in names:
        np.testing.assert_allclose(first[name], second[name], rtol=2e-5, atol=2e-5, err_msg=name)


def rows(part) -> ImageRows:
    return ImageRows.from_tensors({n.removeprefix("images/"): t for n, t in part.items() if n.startswith("images/")})


@pytest.mark.parametrize("batch", [1, 5])
def test_corrupt_photos_leave_the_others_as_they_are(batch):
    bad = {"000003.png": b"", "000007.png": b"GIF89a but no more", "000008.png": noise(1)["000000.png"][:60]}
    net, source = network(nets.inplace_relu(dtype=torch.float32)), Photos(noise(14) | bad)
    found, without = swept(net, source, batch=batch), swept(net, source, batch=batch, without=bad)
    close(found, without)
    assert set(rows(found).refused) == {3, 7, 8}
    assert rows(found).predicted[[3, 7, 8]].tolist() == [-1] * 3
    assert rows(found).label.tolist() == [i % 5 for i in range(14)]
    assert rows(without).refused == {}
    np.testing.assert_array_equal(np.delete(rows(found).predicted, [3, 7, 8]), rows(without).predicted)
    assert not {3, 7, 8} & set(found["conv1/exemplars/images"].flatten().tolist())


def test_photos_of_several_sizes_share_a_batch():
    source = Photos(noise(12, sizes=[(12, 12), (16, 8), (12, 20)]))
    net = network(nets.plain(dtype=torch.float32), fixed=False)
    together, alone = swept(net, source, batch=8), swept(net, source, batch=1)
    for name in (
        "conv1/exemplars/images",
        "relu2/exemplars/y",
        "relu2/exemplars/x",
        "images/input_size",
        "features/images",
    ):
        np.testing.assert_array_equal(together[name], alone[name])
    np.testing.assert_allclose(together["relu2/features"], alone["relu2/features"], atol=1e-5)
    assert rows(together).input_size.tolist() == [[12, 12], [16, 8], [12, 20]] * 4


def test_a_photo_that_the_network_does_not_take_is_left_out():
    net = network(nets.plain(dtype=torch.float32), fixed=False)
    source = Photos(noise(6) | {"000002.png": noise(1, sizes=[(2, 2)])["000000.png"]})
    found = swept(net, source)
    assert list(rows(found).refused) == [2]
    assert "tiny cannot take an input of 3 x 2 x 2" in rows(found).refused[2]
    assert rows(found).input_size[2].tolist() == [0, 0]
    assert rows(found).digest[2].any()
    close(found, swept(net, source, without={"000002.png"}))


def test_one_photo_does_not_drag_its_batch_along():
    net, source = network(watch(Picky()), fixed=False, classes=()), Photos(noise(16))
    found = swept(net, source, ["maps"], classes=(), right=())
    refused = rows(found).refused
    assert 0 < len(refused) < 16
    assert all("too bright" in reason for reason in refused.values())
    brighter = {i for i, name in enumerate(source.names()) if net.input_of(source.read(name).image).mean() > 0}
    assert set(refused) == brighter


def test_a_transform_that_fails_on_one_photo():
    source = Photos(noise(6) | {"000004.png": noise(1, sizes=[(8, 12)])["000000.png"]})
    usual = network(nets.plain(dtype=torch.float32))

    def transform(photo):
        if photo.height < 10:
            raise IndexError("too low")
        return usual.preprocess(photo)

    net = Network(usual.module, transform, usual.classes, "tiny")
    found = swept(net, source)
    assert rows(found).refused == {4: "the network's transform failed: too low"}
    close(found, swept(net, source, without={"000004.png"}))


def test_no_room_for_a_photo_is_an_error():
    usual = network(nets.plain(dtype=torch.float32))

    def transform(photo):
        raise MemoryError

    net = Network(usual.module, transform, usual.classes, "tiny")
    with pytest.raises(ConvscopeError, match=r"not enough memory to read 000000.png"):
        swept(net, Photos(noise(2)))


def test_a_network_that_takes_none_of_its_own_size_is_an_error():
    net = network(nets.four_channel(dtype=torch.float32))
    with pytest.raises(ConvscopeError, match="tiny cannot take an input of 3 x 12 x 12"):
        swept(net, Photos(noise(3)))


@pytest.mark.parametrize("room", [1, 3])
def test_out_of_memory_gives_smaller_batches_with_the_same_values(monkeypatch, room):
    net, source = network(nets.inplace_relu(dtype=torch.float32)), Photos(noise(40))
    whole = swept(net, source, batch=16, pattern_layers=("relu2",))
    plain_run, most = network_passes.run_on_copy, 0

    def cramped(model, x):
        nonlocal most
        if len(x) > room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        most = max(most, len(x))
        return plain_run(model, x)

    monkeypatch.setattr(network_passes, "run_on_copy", cramped)
    found = swept(net, source, batch=16, pattern_layers=("relu2",))
    assert most == (2 if room == 3 else 1)
    close(whole, found)
    np.testing.assert_array_equal(whole["images/predicted"], found["images/predicted"])
    np.testing.assert_array_equal(whole["conv1/exemplars/images"], found["conv1/exemplars/images"])


def test_out_of_memory_in_the_middle_of_a_pass():
    """What the failed pass has read is forgotten: nothing is counted twice."""

    class Cramped(nn.Module):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return x

    module = nets.plain(dtype=torch.float32)
    cramped = watch(nn.Sequential(module[:4], Cramped(), module[4:]))
    source = Photos(noise(24))
    found = swept(network(cramped), source, ("0.conv1", "2.relu2"))
    expected = swept(network(module), source, ("conv1", "relu2"))
    for layer, inside in (("conv1", "0.conv1"), ("relu2", "2.relu2")):
        for what in ("exemplars/values", "exemplars/images", "statistics/mean", "statistics/count", "features"):
            np.testing.assert_allclose(found[f"{inside}/{what}"], expected[f"{layer}/{what}"], rtol=2e-5, atol=2e-5)


def test_one_image_that_does_not_fit_names_the_layer():
    class Hungry(nn.Module):
        def forward(self, x):
            raise MemoryError

    module = nets.plain(dtype=torch.float32)
    net = network(watch(nn.Sequential(module[:3], Hungry(), module[3:])))
    with pytest.raises(ConvscopeError, match=r"not enough memory for tiny on one image of 3 x 12 x 12.*'2.relu2'"):
        swept(net, Photos(noise(5)), ("0.conv1", "2.relu2"))


def test_a_network_without_logits():
    module = nets.plain(dtype=torch.float32)[:4]
    found = swept(network(watch(module), classes=()), Photos(noise(4)), ("conv1",), classes=(), right=())
    assert rows(found).predicted.tolist() == [-1] * 4
    with pytest.raises(ConvscopeError, match="logits"):
        swept(network(module, classes=()), Photos(noise(4)), ("conv1",))


def test_logits_in_a_dict_like_output():
    net = network(nets.dict_output(dtype=torch.float32))
    first = next(name for name, _ in net.module.named_modules() if name)
    try:
        found = swept(net, Photos(noise(4)), (first,), classes=(), right=())
    except ConvscopeError as error:
        pytest.fail(str(error))
    assert rows(found).predicted.tolist() == [-1] * 4


def test_a_layer_that_runs_twice_needs_a_number():
    net, source = network(nets.reused_relu(dtype=torch.float32)), Photos(noise(3))
    reused = next(name for name, module in net.module.named_modules() if isinstance(module, nn.ReLU))
    with pytest.raises(ConvscopeError, match="more than once"):
        swept(net, source, (reused,))
    found = swept(net, source, (f"{reused}#1", f"{reused}#2"))
    assert found[f"{reused}#1/shape"][0] == 6
    assert found[f"{reused}#2/shape"][0] == 8


class _Threads(nn.Module):
    """As many as torch would use in this very pass."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()

    def forward(self, x):
        return self.maps(x * 0 + torch.get_num_threads()).mean((2, 3))


def test_a_pass_has_one_of_torchs_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        net = network(watch(_Threads().eval()), classes=())
        found = swept(net, Photos(noise(9)), ["maps"], classes=(), right=())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert (found["maps/features"] == 1).all()


def test_a_net_in_train_mode_is_evaluated_and_stays_in_it():
    net, source = network(nets.norm_dropout(train=True, dtype=torch.float32)), Photos(noise(9))
    found = swept(net, source, ("norm1", "linear"))
    assert all(module.training for module in net.module.modules())
    expected = swept(network(nets.norm_dropout(dtype=torch.float32)), source, ("norm1", "linear"))
    np.testing.assert_array_equal(found["norm1/features"], expected["norm1/features"])
    np.testing.assert_array_equal(found["images/loss"], expected["images/loss"])


class _Windows(nn.Module):
    """A layer whose first axis is not one of images."""

    def __init__(self) -> None:
        super().__init__()
        self.window = nn.Identity()

    def forward(self, x):
        b, c, h, w = x.shape
        halves = self.window(x.reshape(b, c, 2, h // 2, w).transpose(1, 2).reshape(2 * b, c, h // 2, w))
        return halves.reshape(b, -1)[:, :5]


def test_windows_in_the_first_axis_are_refused():
    net = network(watch(_Windows()), classes=())
    with pytest.raises(ConvscopeError, match=r"'window'.*first axis is not one of images"):
        swept(net, Photos(noise(3)), ("window",), classes=(), right=())


def test_half_precision_and_grey():
    half = network(nets.plain(dtype=torch.bfloat16))
    assert swept(half, Photos(noise(5)))["conv1/exemplars/values"].dtype == np.float32
    grey: Network = nets.grey(dtype=torch.float32)
    prepared = network(grey).preprocess
    one = Network(grey, type(prepared)(12, 12, (0.5,), (0.5,)), (), "grey")
    assert swept(one, Photos(noise(5)))["conv1/shape"].tolist() == [6, 12, 12, 144]


def test_surroundings_without_gradients_or_in_inference_mode():
    net, source = network(nets.frozen(dtype=torch.float32)), Photos(noise(5))
    first = next(name for name, module in net.module.named_modules() if isinstance(module, nn.Conv2d))
    plain = swept(net, source, (first,))
    with torch.inference_mode():
        inside = swept(net, source, (first,))
    close(plain, inside)
