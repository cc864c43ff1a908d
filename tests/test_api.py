"""The friendly calls: the same numbers as the plain functions on the network's input, to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.answers import input_logits, logits_of_many, prediction_of, seen_by
from convscope.attribution import METHODS
from convscope.attribution.deconvolution import strongest_units
from convscope.errors import ConvscopeError
from tests import friendly, nets


def last_conv(method: str) -> dict[str, str]:
    return {"layer": "relu2"} if METHODS[method].needs_layer else {}


# ---- predict -------------------------------------------------------------------------------------------------


def test_predict_is_the_softmax_of_the_modules_own_logits() -> None:
    """Oracle: the module called by hand on net.preprocess(photo)."""
    net, photo = friendly.network(nets.plain), friendly.photo()
    with torch.no_grad():
        logits = net.module(net.preprocess(photo))[0]
    seen = cs.predict(net, photo, k=3)
    assert torch.equal(seen.logits, logits)
    best = logits.argsort(descending=True)[:3].tolist()
    assert list(seen) == [(friendly.CLASSES[i], float(logits.softmax(0)[i])) for i in best]
    assert seen.indices == tuple(best)


def test_a_prediction_is_like_a_list_of_pairs() -> None:
    seen = cs.predict(friendly.network(), friendly.photo(), k=4)
    assert len(seen) == 4
    (name, probability), rest = seen[0], seen[1:]
    assert (name, probability) in seen
    assert [p for _, p in rest] == sorted((p for _, p in rest), reverse=True)
    assert seen == list(seen)
    assert repr(seen) == repr(list(seen))


def test_k_is_at_most_the_number_of_classes_and_at_least_one() -> None:
    net = friendly.network()
    assert len(cs.predict(net, friendly.photo(), k=99)) == 5
    with pytest.raises(ConvscopeError, match="k=0"):
        cs.predict(net, friendly.photo(), k=0)


def test_classes_are_ordered_by_logit_where_probabilities_round_to_zero() -> None:
    """exp(-200) is 0 in float32: the order of such classes is that of their logits."""
    logits = torch.tensor([-300.0, 20.0, -200.0, -250.0, -400.0])
    assert prediction_of(seen_by(friendly.network(), friendly.photo()), logits).indices == (1, 2, 3, 0, 4)


def test_without_names_a_class_is_called_by_its_number() -> None:
    seen = cs.predict(friendly.network(classes=()), friendly.photo(), k=1)
    assert seen[0][0] == f"class {seen.indices[0]}"


def test_a_path_a_picture_and_an_array_are_the_same_photo(tmp_path: Path) -> None:
    net, photo = friendly.network(), friendly.photo()
    photo.save(tmp_path / "photo.png")
    answers = [cs.predict(net, each) for each in (tmp_path / "photo.png", str(tmp_path / "photo.png"), photo)]
    answers.append(cs.predict(net, np.asarray(photo)))
    assert all(torch.equal(answer.logits, answers[0].logits) for answer in answers)
    assert len({answer.stamp.data_hash for answer in answers}) == 1


def test_a_network_in_training_mode_answers_as_in_evaluation_and_stays_so() -> None:
    """Oracle: the same net built in evaluation mode; the autouse fixture sees that the modes come back."""
    training, evaluating = (friendly.network(nets.norm_dropout, train=mode) for mode in (True, False))
    first, second = (cs.predict(net, friendly.photo()) for net in (training, evaluating))
    assert torch.equal(first.logits, second.logits)


def test_logits_are_float32_on_the_cpu_whatever_the_network_computes_in() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        logits = cs.predict(friendly.network(dtype=dtype), friendly.photo()).logits
        assert (logits.dtype, logits.device.type) == (torch.float32, "cpu")


def test_refusals_of_a_network_name_what_does_not_fit() -> None:
    with pytest.raises(ConvscopeError, match="2 class names for a network with 5 outputs"):
        cs.predict(friendly.network(classes=("a", "b")), friendly.photo())
    big = friendly.network(nets.mlp, preprocess=cs.Preprocess(size=16, crop=16), name="my mlp")
    with pytest.raises(ConvscopeError, match=r"my mlp cannot take an input of 3 x 16 x 16: .*mat1 and mat2"):
        cs.predict(big, friendly.photo())
    with pytest.raises(ConvscopeError, match="callable target"):
        cs.predict(friendly.network(nets.dict_output), friendly.photo())


# ---- many photos ---------------------------------------------------------------------------------------------


class _Counting(nn.Module):
    """Hands on to a net and notes how many images came at once."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.batches = net, []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(tuple(x.shape))
        return self.net(x)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_an_answer_of_nan_has_no_most_probable_class(odd: float) -> None:
    class Unsure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([0.0, odd, 1.0]).expand(len(x), 3)

    net = cs.load(Unsure(), preprocess=friendly.PREPROCESS)
    with pytest.raises(ConvscopeError, match="Unsure answers with NaN or infinity"):
        cs.predict(net, friendly.photo(8, 8))


def test_many_photos_come_in_order_in_bounded_batches_of_one_size() -> None:
    """Oracle: each photo alone, to float32 rounding."""
    whole = cs.Preprocess(size=None, crop=None)
    counting = _Counting(nets.gap_linear(dtype=torch.float32))
    net = cs.Network(counting, whole, friendly.CLASSES, "counting")
    sizes = [(12, 12)] * 3 + [(16, 12)] * 2 + [(12, 12)]
    photos = [(f"{i}.png", friendly.photo(*size, seed=i)) for i, size in enumerate(sizes)]
    found = list(logits_of_many(net, iter(photos), batch=2))
    assert [shape[0] for shape in counting.batches] == [2, 1, 2, 1]
    assert [name for name, _ in found] == [name for name, _ in photos]
    for (_, logits), (_, photo) in zip(found, photos, strict=True):
        torch.testing.assert_close(logits, cs.predict(net, photo).logits)
    assert list(logits_of_many(net, iter(()))) == []


def test_a_photo_that_the_network_does_not_take_is_told_of_and_left_out() -> None:
    """A photo of 4 x 4 is too small for this net; the others are as without it."""
    net = friendly.network(nets.overlapping_pool, preprocess=cs.Preprocess(size=None, crop=None))
    photos = [("a", friendly.photo()), ("tiny", friendly.photo(2, 2)), ("b", friendly.photo(seed=1))]
    told: dict[str, str] = {}
    found = dict(logits_of_many(net, photos, refused=lambda name, error: told.update({name: str(error)})))
    assert list(found) == ["a", "b"]
    assert list(told) == ["tiny"]
    assert "cannot take an input of 3 x 2 x 2" in told["tiny"]
    assert torch.equal(found["b"], dict(logits_of_many(net, photos[2:]))["b"])
    with pytest.raises(ConvscopeError, match="3 x 2 x 2"):
        list(logits_of_many(net, photos))


def test_a_photo_too_elongated_to_be_resized_is_told_of_too() -> None:
    net = friendly.network(preprocess=cs.Preprocess(size=4000, crop=12))
    told: list[str] = []
    long = Image.new("RGB", (4000, 1))
    assert list(logits_of_many(net, [("long", long)], refused=lambda name, _: told.append(name))) == []
    assert told == ["long"]


# ---- explain -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_values_are_those_of_the_plain_function_bit_for_bit(method: str) -> None:
    """Oracle: the attribution function itself on net.preprocess(photo)."""
    net, photo = friendly.network(), friendly.photo()
    options = {"size": 4, "stride": 2} if method == "occlusion" else {}
    expected = METHODS[method](net.module, net.preprocess(photo), target=2, **last_conv(method), **options)[0]
    found = cs.explain(net, photo, method=method, target="lion", **options)
    assert torch.equal(found.values, expected)
    assert (found.values.dtype, found.values.device.type) == (torch.float32, "cpu")
    assert (found.method, found.target) == (method, "any class" if METHODS[method].classless else "Lion")
    assert found.layer == last_conv(method).get("layer")
    assert found.prediction == cs.predict(net, photo)


def test_a_float64_network_gives_float32_values() -> None:
    net = friendly.network(dtype=torch.float64)
    x = net.preprocess(friendly.photo()).double()
    expected = METHODS["gradient"](net.module, x, target=1)[0]
    assert torch.equal(cs.explain(net, friendly.photo(), "gradient", 1).values, expected.float())


@pytest.mark.parametrize("method", [m for m in METHODS if m != "deconvnet"])
def test_no_target_is_the_top_class(method: str) -> None:
    net, photo = friendly.network(), friendly.photo()
    top = cs.predict(net, photo)
    found = cs.explain(net, photo, method)
    assert found.target == ("any class" if METHODS[method].classless else top[0][0])
    assert torch.equal(found.values, cs.explain(net, photo, method, top.indices[0]).values)


@pytest.mark.parametrize("target", ["king penguin", "King_Penguin", 1, "1", np.int64(1)])
def test_a_class_may_be_given_by_name_in_any_case_or_by_number(target: Any) -> None:
    net, photo = friendly.network(), friendly.photo()
    found = cs.explain(net, photo, "gradient", target)
    assert found.target == "king penguin"
    assert torch.equal(found.values, METHODS["gradient"](net.module, net.preprocess(photo), target=1)[0])


def test_a_unit_and_a_neuron_are_called_as_they_were_given() -> None:
    net, photo = friendly.network(), friendly.photo()
    for name in ("conv2:3", "conv2:3@2,4"):
        found = cs.explain(net, photo, "gradient", name)
        assert found.target == name
        assert torch.equal(found.values, METHODS["gradient"](net.module, net.preprocess(photo), target=name)[0])


def test_a_callable_reads_any_output() -> None:
    """A network that returns a dict has no prediction; its maps can still be had."""
    net, photo = friendly.network(nets.dict_output), friendly.photo()

    def third(output: dict[str, Tensor]) -> Tensor:
        return output["logits"][:, 2]

    found = cs.explain(net, photo, "gradient", third)
    assert (found.target, found.prediction) == ("third", None)
    assert torch.equal(found.values, METHODS["gradient"](net.module, net.preprocess(photo), target=third)[0])


def test_several_layers_give_a_dict_of_what_each_gives_alone() -> None:
    net, photo = friendly.network(), friendly.photo()
    found = cs.explain(net, photo, "grad-cam", "lion", layer=["conv1", "relu2"])
    assert list(found) == ["conv1", "relu2"]
    for layer, one in found.items():
        assert one.layer == layer
        assert torch.equal(one.values, cs.explain(net, photo, "grad-cam", "lion", layer).values)


def test_a_network_with_a_preprocessing_of_its_own_is_explained_on_its_input() -> None:
    """Any photo -> (1, c, h, w); what is drawn on is then the input itself, stretched to what can be seen."""

    def own(photo: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(photo.resize((12, 12)))).permute(2, 0, 1)[None] / 100.0

    net, photo = friendly.network(preprocess=own), friendly.photo()
    found = cs.explain(net, photo, "gradient", 0)
    assert torch.equal(found.values, METHODS["gradient"](net.module, own(photo), target=0)[0])
    assert found.photo.size == (12, 12)
    pixels = np.asarray(photo.resize((12, 12))).astype(float)
    stretched = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255
    np.testing.assert_allclose(np.asarray(found.photo), stretched, atol=0.51)


@pytest.mark.parametrize(("factory", "channels"), [(nets.grey, 1), (nets.four_channel, 4)])
def test_inputs_of_one_and_of_four_channels_are_drawn(factory: Any, channels: int) -> None:
    net = friendly.network(factory, preprocess=lambda photo: nets.images(1, c=channels, dtype=torch.float32))
    found = cs.explain(net, friendly.photo(), "gradient")
    assert found.values.shape == (channels, 12, 12)
    assert found.photo.mode == "RGB"
    assert found.picture().width > 100


def test_occlusion_says_which_square_it_used() -> None:
    """The default: a quarter of the shorter side, every half of it."""
    found = cs.explain(friendly.network(), friendly.photo(), "occlusion")
    assert found.options == {"size": (3, 3), "stride": (1, 1)}
    assert found.note == "square of 3 px, every 1 px"
    wide = cs.explain(friendly.network(), friendly.photo(), "occlusion", size=(4, 6), stride=2)
    assert wide.note == "square of 4 x 6 px, every 2 px"


# ---- deconvnet -----------------------------------------------------------------------------------------------


def test_the_deconvnet_shows_the_strongest_unit_of_the_last_map_unless_told_otherwise() -> None:
    net, photo = friendly.network(), friendly.photo()
    x = net.preprocess(photo)
    unit = str(strongest_units(net.module, x, "relu2")[0])
    found = cs.explain(net, photo, "deconvnet")
    assert (found.layer, found.target) == ("relu2", unit)
    assert torch.equal(found.values, METHODS["deconvnet"](net.module, x, target=unit)[0])
    elsewhere = cs.explain(net, photo, "deconvnet", layer="conv1")
    assert (elsewhere.layer, elsewhere.target) == ("conv1", str(strongest_units(net.module, x, "conv1")[0]))


@pytest.mark.parametrize(
    ("target", "layer", "label", "plain"),
    [
        ("lion", None, "Lion", {"target": 2}),
        (2, None, "Lion", {"target": 2}),
        (2, "conv1", "conv1:2", {"target": "conv1:2"}),
        ("2", "conv1", "conv1:2", {"target": "conv1:2"}),
        ("conv1:2@3,4", None, "conv1:2@3,4", {"target": "conv1:2@3,4"}),
        ("map", "conv1", "map", {"target": "map", "layer": "conv1"}),
    ],
)
def test_the_deconvnet_starts_from_a_class_a_unit_a_position_or_a_whole_map(
    target: Any, layer: str | None, label: str, plain: dict[str, Any]
) -> None:
    """A number with a layer is a unit of that layer, and must not be called by the class of that number."""
    net, photo = friendly.network(), friendly.photo()
    found = cs.explain(net, photo, "deconvnet", target, layer)
    assert found.target == label
    assert torch.equal(found.values, METHODS["deconvnet"](net.module, net.preprocess(photo), **plain)[0])


def test_the_deconvnet_refuses_a_class_with_a_layer() -> None:
    with pytest.raises(ConvscopeError, match=r"'lion' is a class, 'conv1' a layer"):
        cs.explain(friendly.network(), friendly.photo(), "deconvnet", "lion", "conv1")


# ---- randomness ----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_map_and_another_seed_another() -> None:
    """Noise in the square; without a seed it is 0, and torch's global state is never drawn from."""
    net, photo = friendly.network(), friendly.photo()

    def noisy(**seed: int) -> cs.Explanation:
        return cs.explain(net, photo, "occlusion", size=4, fill="noise", **seed)

    assert torch.equal(noisy(seed=3).values, noisy(seed=3).values)
    assert not torch.equal(noisy(seed=3).values, noisy(seed=4).values)
    assert torch.equal(noisy().values, noisy(seed=0).values)
    assert (noisy(seed=3).stamp.seed, noisy().stamp.seed) == (3, 0)
    assert cs.explain(net, photo, "occlusion").stamp.seed is None


# ---- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"method": "grad-camm"}, r"no method 'grad-camm'; did you mean 'grad-cam'"),
        ({"target": "lino"}, r"no class 'lino' among the network's 5; did you mean 'Lion'"),
        ({"target": "crane"}, r"'crane' is shared by classes 3, 4"),
        ({"target": 5}, r"class 5 was asked for, but the network has 5"),
        ({"target": "conv2:99"}, r"unit 99 was asked for, but layer 'conv2' has 8"),
        ({"layer": "conv3"}, r"no layer 'conv3' in Sequential; did you mean 'conv"),
        ({"layer": []}, r"layer=\[\] asks for no layer"),
        ({"method": "saliency", "layer": "conv2"}, r"saliency does not work at a layer; layer='conv2'"),
        ({"method": "occlusion", "sizes": 3}, r"occlusion has no option 'sizes'; its options are size, stride"),
        ({"method": "gradient", "size": 3}, r"gradient has no option 'size'; its options are score"),
        ({"method": "occlusion", "size": 13}, r"13 px does not fit an image 12 px"),
    ],
)
def test_refusals_name_what_was_given_and_what_was_possible(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        cs.explain(friendly.network(), friendly.photo(), **request_)


# ---- the stamp -----------------------------------------------------------------------------------------------


def test_the_stamp_says_model_data_versions_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/convscope", "explain", "my cat.jpg"])
    net, photo = friendly.network(), friendly.photo()
    stamp = cs.explain(net, photo, "gradient", seed=7).stamp
    assert stamp.fields() == {
        "model": "a small net",
        "model_hash": net.fingerprint,
        "data_hash": cs.predict(net, photo).stamp.data_hash,
        "versions": f"convscope 0.1.0, torch {torch.__version__.split('+')[0]}",
        "seed": 7,
        "command": "convscope explain 'my cat.jpg'",
    }
    monkeypatch.setattr("sys.argv", ["/usr/bin/ipython"])
    assert cs.predict(net, photo).stamp.command == ""


def test_one_other_weight_or_pixel_changes_the_hashes() -> None:
    net, photo = friendly.network(), friendly.photo()
    other = friendly.network(seed=1)
    stamp = cs.predict(net, photo).stamp
    assert cs.predict(other, photo).stamp.model_hash != stamp.model_hash
    changed = photo.copy()
    changed.putpixel((0, 0), (1, 2, 3))
    assert cs.predict(net, changed).stamp.data_hash != stamp.data_hash
    # the same bytes in another shape are another photo
    assert cs.predict(net, Image.frombytes("RGB", (16, 20), photo.tobytes())).stamp.data_hash != stamp.data_hash


def test_input_logits_takes_a_batch() -> None:
    net = friendly.network()
    x = nets.images(3, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(input_logits(net, x), net.module(x))
