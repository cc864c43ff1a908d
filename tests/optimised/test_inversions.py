"""Inversions and their sheets. Oracles: errors recomputed through the network; single calls; colours on the sheet."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess
from convscope.optimised.interrupted import Interrupted, UnfinishedError
from convscope.optimised.inversion_sheets import networks, strengths, strip
from convscope.optimised.inversions import invert, layers_on_the_path
from convscope.results import Shown
from convscope.synthesis.keeping import STATE
from tests import friendly, nets
from tests.untouched import watch

PHOTO = friendly.photo()
FEW = {"steps": 6}


class Memory:
    """A keeper that takes every state."""

    def __init__(self) -> None:
        self.store: dict[str, dict[str, Tensor]] = {}
        self.at_most: int | None = None

    def kept(self, key: str) -> dict[str, Tensor] | None:
        return dict(self.store[key]) if key in self.store else None

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        self.store[key] = {name: tensor.clone() for name, tensor in tensors.items()}

    def forget(self, key: str) -> None:
        self.store.pop(key, None)

    def is_due(self) -> bool:
        return True


def dead(net: cs.Network, convolution: str) -> cs.Network:
    with torch.no_grad():
        net.module.get_submodule(convolution).bias.fill_(-100.0)
    watch(net.module)
    return net


def features(net: cs.Network, x: Tensor, layer: str) -> Tensor:
    seen: list[Tensor] = []
    handle = net.module.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].detach().clone()))
    with torch.no_grad():
        net.module(x)
    handle.remove()
    return seen[0].double()


@pytest.mark.parametrize("layer", ["conv1", "relu2", "linear"])
def test_the_error_is_that_of_the_picture_through_the_network(layer: str) -> None:
    """Maps and a fully connected layer; the grey error is that of the start, grey to a hundredth."""
    net = friendly.network(nets.gap_linear)
    made = invert(net, PHOTO, layer, **FEW)
    wanted = features(net, net.input_of(PHOTO), layer)
    mean, std = (torch.tensor(each)[:, None, None] for each in (friendly.PREPROCESS.mean, friendly.PREPROCESS.std))

    def error(picture: Tensor) -> float:
        found = features(net, ((picture - mean) / std)[None], layer)
        return float((found - wanted).square().sum() / wanted.square().sum())

    assert made.relative_error == pytest.approx(error(made.values), rel=1e-4)
    assert made.grey_error == pytest.approx(error(torch.full_like(made.values, 0.5)), rel=0.1)
    assert made.relative_error < made.grey_error
    assert made.shape == tuple(wanted.shape[1:])
    assert 0 <= made.values.min() <= made.values.max() <= 1


def test_the_first_layer_gives_the_photo_back() -> None:
    net = friendly.network()
    made = invert(net, PHOTO, "conv1", steps=300, tv=0, lp=0, rate=0.5)
    photo = torch.from_numpy(np.asarray(made.photo).copy()).permute(2, 0, 1) / 255
    assert made.relative_error < 1e-4
    assert (made.values - photo).square().mean().sqrt() < 0.1


def test_a_list_is_a_dict_of_single_calls_and_none_the_last_map() -> None:
    net = friendly.network()
    several = cs.invert(net, PHOTO, ["relu2", "conv1"], seed=2, **FEW)
    assert list(several) == ["relu2", "conv1"]
    for layer, made in several.items():
        alone = cs.invert(net, PHOTO, layer, seed=2, **FEW)
        assert torch.equal(made.values, alone.values)
        assert (made.relative_error, made.stamp.seed) == (alone.relative_error, 2)
    assert torch.equal(cs.invert(net, PHOTO, seed=2, **FEW).values, several["relu2"].values)
    assert isinstance(several["conv1"], Shown)
    assert not torch.equal(cs.invert(net, PHOTO, "conv1", **FEW).values, several["conv1"].values)


def test_grey_networks_and_other_precisions_are_inverted_and_channels_without_a_photo_refused() -> None:
    one = Preprocess(size=12, crop=12, mean=(0.5,), std=(0.2,))
    grey = invert(friendly.network(nets.grey, preprocess=one), PHOTO, "conv1", **FEW)
    assert grey.values.shape == (1, 12, 12)
    assert grey.picture().mode == "RGB"
    for dtype in (torch.float64, torch.bfloat16):
        made = invert(friendly.network(dtype=dtype), PHOTO, "conv1", **FEW)
        assert made.values.dtype == torch.float32
        assert made.relative_error < made.grey_error
    four = Preprocess(size=12, crop=12, mean=(0.5,) * 4, std=(0.2,) * 4)
    with pytest.raises(ConvscopeError, match="4"):
        invert(friendly.network(nets.four_channel, preprocess=four), PHOTO, "conv1", **FEW)


def test_what_cannot_be_inverted_is_refused_before_anything_is_made() -> None:
    net, told = dead(friendly.network(), "conv2"), list[str]()
    with pytest.raises(ConvscopeError, match="'relu2' cannot be inverted for this photo: all its features are zero"):
        invert(net, PHOTO, ["conv1", "relu2"], on_layer=told.append)
    with pytest.raises(ConvscopeError, match="did you mean 'conv1'"):
        invert(net, PHOTO, ["relu1", "conv11"], on_layer=told.append)
    with pytest.raises(ConvscopeError, match="no option 'tvv'"):
        invert(net, PHOTO, "conv1", tvv=1)
    with pytest.raises(ConvscopeError, match="asks for no layer"):
        invert(net, PHOTO, [])
    assert not told


def test_layers_whose_features_are_all_zero_are_left_out_of_the_path_with_the_reason() -> None:
    net = dead(friendly.network(), "conv2")
    found, left_out = layers_on_the_path(net, PHOTO)
    assert "conv2" in found
    assert "relu2" not in found
    assert left_out["relu2"] == "all its features are zero"


def test_an_interrupted_run_leaves_what_is_ready_and_goes_on_to_the_same_bits() -> None:
    net, keeper, steps = friendly.network(), Memory(), list[tuple[int, int]]()
    layers = ["conv1", "relu1", "conv2"]

    def on_step(done: int, every: int) -> None:
        steps.append((done, every))
        if len(steps) == 7 + 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stopped:
        invert(net, PHOTO, layers, keeper=keeper, key="a ", on_step=on_step, **FEW)
    assert steps == [(i, 6) for i in [*range(7), *range(4)]]
    assert list(stopped.value.ready) == ["conv1"]
    assert stopped.value.missing == ("relu1", "conv2")
    assert set(keeper.store) == {"a conv1", f"a relu1{STATE}"}

    more: list[str] = []
    rest = invert(net, PHOTO, layers, keeper=keeper, key="a ", on_step=lambda *s: more.append(str(s)), **FEW)
    whole = invert(net, PHOTO, layers, **FEW)
    assert more[0] == "(2, 6)"  # the state of the step before the break
    assert len(more) == 5 + 7
    for layer in layers:
        assert torch.equal(rest[layer].values, whole[layer].values)
        assert rest[layer].relative_error == whole[layer].relative_error
        assert rest[layer].grey_error == whole[layer].grey_error


def test_an_error_that_is_not_finite_leaves_what_is_ready() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Identity(), nn.Identity()
            self.passes = 0

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            self.passes += 1
            return self.second(x * float("nan") if self.passes > 3 else x).mean((2, 3))

    net = cs.Network(Net().eval(), friendly.PREPROCESS, (), "one that breaks")
    with pytest.raises(UnfinishedError, match="'second'") as unfinished:
        invert(net, PHOTO, ["first", "second"], steps=3)
    assert list(unfinished.value.ready) == ["first"]
    assert unfinished.value.missing == ("second",)


# ---- sheets ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> dict[str, cs.Inversion]:
    return cs.invert(friendly.network(), PHOTO, ["conv1", "relu1", "conv2"], steps=2)


def test_a_result_says_what_it_is_and_what_it_does_not_show(made: dict[str, cs.Inversion], tmp_path) -> None:
    one = made["conv1"]
    facts = one.facts()
    assert "conv1" in facts["inversion"]
    assert "does not see the difference" in facts["what it does not"]
    assert "for a picture of 432" in facts["features"]  # 3 x 12 x 12
    assert one.as_json()["relative_error"] == one.relative_error
    with np.load(one.save(tmp_path / "one.npz")) as archive:
        assert np.array_equal(archive["values"], one.values.numpy())
        assert archive["errors"].tolist() == [one.relative_error, one.grey_error]
    assert "does not see the difference" in one.save(tmp_path / "one.html").read_text()


def test_a_strip_has_the_photo_then_each_layer_and_the_curve_has_its_numbers(
    made: dict[str, cs.Inversion], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convscope.optimised import inversion_sheets

    drawn: dict[str, object] = {}
    real_sheet, real_curve = inversion_sheets.sheet, inversion_sheets.layer_curves
    monkeypatch.setattr(inversion_sheets, "sheet", lambda t, **o: drawn.update(tiles=t) or real_sheet(t, **o))
    monkeypatch.setattr(inversion_sheets, "layer_curves", lambda v, **o: drawn.update(lines=v) or real_curve(v, **o))
    sheet = strip(list(made.values()), left_out={"relu9": "all its features are zero"}, missing=("fc",))
    picture = sheet.picture()
    assert [tile.caption for tile in drawn["tiles"]] == ["photo", "conv1", "relu1", "conv2"]  # pyright: ignore
    (line,) = drawn["lines"]  # pyright: ignore
    assert line.labels == ("conv1", "relu1", "conv2")
    assert line.values == tuple(one.relative_error for one in made.values())
    assert line.levels == tuple(one.grey_error for one in made.values())
    assert "relu9 (all its features are zero)" in sheet.footer
    assert "not made: fc" in sheet.subtitle
    assert picture.height > sheet._strip().height
    assert [entry["layer"] for entry in sheet.as_json()["layers"]] == list(made)
    assert sheet.stamp.seed == 0
    assert set(sheet.arrays()) == {*made, "errors"}


def test_rows_of_strengths_and_of_networks_keep_their_order_and_depth(made: dict[str, cs.Inversion]) -> None:
    row = list(made.values())
    several = strengths({0.1: row, 10.0: row[:0], 1.0: row})
    assert several.headings == ("TV 0.1", "TV 1")  # one of which nothing is ready is left out
    assert [entry["name"] for entry in several.as_json()["rows"]] == ["TV 0.1", "TV 1"]
    both = networks({"one": row, "other": row[:2]})
    placed = [tile and tile.caption for tile in both._placed(both.rows[1])]
    assert placed == ["conv1", None, "relu1"]  # the first below the first, the last below the last
    assert len(both.curve().getcolors(1 << 24)) > 2
    assert both.picture().width > 1000
    with pytest.raises(ConvscopeError, match="at least one"):
        strip([])
