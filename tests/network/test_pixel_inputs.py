"""Pictures to network input. Oracles: what the network's own preprocessing makes of a photo of that size, to the bit;
closed forms of maps; refusals of what is no map of each pixel."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.transforms import CenterCrop, Compose, Grayscale, Normalize, Resize, ToTensor
from transformers import ViTImageProcessorPil

from convscope.errors import ConvscopeError
from convscope.network.foreign_transforms import ForeignTransform
from convscope.network.hf_models import from_processor
from convscope.network.loading import Network, load
from convscope.network.pixel_inputs import PixelInput, pixel_input
from convscope.network.preprocessing import Preprocess
from tests import nets

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
PREPARED = Preprocess(64, 64, MEAN, STD)
NORMALISE = Normalize(MEAN, STD)


def photo_of(height: int, width: int) -> tuple[Image.Image, Tensor]:
    """A photo of noise, and the same as a picture in [0, 1]."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels), torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def net_with(preprocess: "Preprocess | Callable[[Image.Image], Tensor]", dtype: torch.dtype = torch.float32) -> Network:
    return load(nets.plain(dtype=dtype), preprocess=preprocess)


def composed(*steps: Callable) -> Callable[[Image.Image], Tensor]:
    together = Compose(steps)
    return lambda photo: together(photo)[None]


# ---- a Preprocess ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "preprocess",
    [
        Preprocess.from_torchvision(ResNet50_Weights.DEFAULT.transforms()),
        PREPARED,
        Preprocess((48, 40), None, MEAN, STD, "bicubic"),
        Preprocess(None, (32, 40), MEAN, STD),
    ],
)
def test_a_photo_of_the_crops_size_gives_the_networks_own_input(preprocess: Preprocess, dtype: torch.dtype) -> None:
    net = net_with(preprocess, dtype)
    made = pixel_input(net)
    assert made.size is not None
    photo, picture = photo_of(*made.size)
    # neither resized nor cropped: what is left is to be the same
    own = Network(net.module, Preprocess(None, None, preprocess.mean, preprocess.std), (), "")
    torch.testing.assert_close(made(picture), own.input_of(photo), rtol=0, atol=0)
    assert (made.channels, made.network_dtype, made.device) == (3, dtype, net.device)
    assert made.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_the_bundled_model_takes_a_photo_of_its_size_to_the_bit() -> None:
    net = load()
    photo, picture = photo_of(64, 64)
    torch.testing.assert_close(pixel_input(net)(picture), net.input_of(photo), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        (256, 224, (224, 224)),
        (256, (224, 192), (224, 192)),
        (64, None, (64, 64)),
        ((40, 48), None, (40, 48)),
        (None, 28, (28, 28)),
        (None, None, None),
    ],
)
def test_the_networks_own_size(size, crop, expected: tuple[int, int] | None) -> None:
    assert pixel_input(net_with(Preprocess(size, crop, MEAN, STD))).size == expected


@pytest.mark.parametrize("channels", [1, 2, 4, 9])
def test_pictures_can_be_made_where_no_photo_fits(channels: int) -> None:
    mean, std = tuple(0.1 * k for k in range(channels)), tuple(1.0 + k for k in range(channels))
    module = nets.grey() if channels == 1 else nets.four_channel()
    made = pixel_input(load(module, preprocess=Preprocess(12, 12, mean, std)))
    assert (made.channels, made.size) == (channels, (12, 12))
    picture = nets.images(2, channels).sigmoid()
    expected = torch.stack([(picture[:, k] - mean[k]) / std[k] for k in range(channels)], 1)
    torch.testing.assert_close(made(picture), expected, rtol=1e-6, atol=1e-7)  # numbers are kept in float32
    assert made(picture).dtype == torch.float64


def test_a_grey_network_takes_a_grey_photo_to_the_bit() -> None:
    net = load(nets.grey(dtype=torch.float32), preprocess=Preprocess(28, 28, (0.13,), (0.31,)))
    photo, picture = photo_of(28, 28)
    grey = Image.fromarray(np.asarray(photo)[:, :, 0])
    torch.testing.assert_close(pixel_input(net)(picture[:, :1]), net.input_of(grey), rtol=0, atol=0)


def test_a_live_module_without_preprocessing_has_what_load_assumes() -> None:
    """ImageNet's numbers and 224 px, as ``load`` says in its notes."""
    net = load(nets.plain(dtype=torch.float32))
    made = pixel_input(net)
    assert (made.channels, made.size) == (3, (224, 224))
    photo, picture = photo_of(224, 224)
    torch.testing.assert_close(made(picture), net.input_of(photo), rtol=0, atol=0)


def test_gradients_come_back_in_the_pictures_precision() -> None:
    """Closed form: the slope of (v - mean) / std is 1 / std, whatever the network's dtype (0.25 and 0.5 are exact)."""
    made = pixel_input(net_with(Preprocess(8, 8, (0.5,) * 3, (0.25, 0.5, 1.0)), torch.float16))
    picture = torch.full((2, 3, 8, 8), 0.5, requires_grad=True)
    made(picture).sum().backward()
    assert picture.grad is not None
    assert picture.grad.dtype == torch.float32
    assert picture.grad[0, :, 3, 3].tolist() == [4, 2, 1]


@pytest.mark.parametrize("preprocess", [PREPARED, lambda photo: NORMALISE(ToTensor()(photo))[None]])
def test_made_in_an_inference_mode_it_has_gradients_after_it(preprocess) -> None:
    with torch.inference_mode():
        made = pixel_input(net_with(preprocess))
    picture = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    made(picture).sum().backward()
    assert picture.grad is not None
    torch.testing.assert_close(picture.grad[0, :, 0, 0], 1 / torch.tensor(STD))


def test_pictures_of_other_channels_are_refused() -> None:
    with pytest.raises(ConvscopeError, match=r"shape \(1, 4, 8, 8\): 3 channel"):
        pixel_input(net_with(PREPARED))(torch.zeros(1, 4, 8, 8))


# ---- a bare callable ----

BLUE_FIRST = Normalize((103.939, 116.779, 123.68), (1.0, 1.0, 1.0))


def agrees(net: Network, photo: Image.Image, picture: Tensor) -> PixelInput:
    """The map is the callable's own on a photo that is neither resized nor cropped, to rounding of float32."""
    made, expected = pixel_input(net), net.input_of(photo)
    torch.testing.assert_close(made(picture), expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))
    return made


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ((Resize(40), CenterCrop(40), ToTensor(), NORMALISE), (40, 40)),
        ((Resize(40), ToTensor(), NORMALISE), (40, 40)),
        ((CenterCrop((40, 32)), ToTensor(), NORMALISE), (40, 32)),
        ((ToTensor(), NORMALISE), None),
        ((ToTensor(),), None),
        ((ToTensor(), lambda x: 255 * x.flip(0), BLUE_FIRST), None),
        ((ToTensor(), lambda x: 1 - x), None),
        ((ToTensor(), lambda x: torch.cat([x, x, x.flip(0)])), None),
        ((Resize(8), ToTensor(), NORMALISE), (8, 8)),
    ],
    ids=["both", "resize", "crop", "kept", "plain", "blue-first", "negative", "nine-channels", "small"],
)
def test_a_callables_map_is_measured(steps: Sequence[Callable], size: tuple[int, int] | None) -> None:
    net = net_with(composed(*steps))
    made = agrees(net, *photo_of(*(size or (24, 20))))
    assert (made.size, made.channels) == (size, 3)


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_callable_that_sees_grey_makes_grey_pictures(outputs: int) -> None:
    net = net_with(composed(Grayscale(outputs), ToTensor(), Normalize(MEAN[:outputs], STD[:outputs])))
    photo, picture = photo_of(24, 20)
    grey = Image.fromarray(np.asarray(photo)[:, :, 0])
    assert agrees(net, grey.convert("RGB"), picture[:, :1]).channels == 1


def test_a_callable_of_a_network_in_half_precision_is_measured_before_it_is_rounded() -> None:
    net = net_with(composed(ToTensor(), NORMALISE), torch.float16)
    made = pixel_input(net)
    torch.testing.assert_close(made.mean.flatten(), torch.tensor(MEAN), rtol=1e-6, atol=0)
    torch.testing.assert_close(made.std.flatten(), torch.tensor(STD), rtol=1e-6, atol=0)
    photo, picture = photo_of(24, 20)
    torch.testing.assert_close(made(picture), net.input_of(photo), rtol=1e-3, atol=0)
    assert pixel_input(net_with(lambda p: composed(ToTensor(), NORMALISE)(p).half(), torch.float16)).size is None


def test_a_border_that_a_callable_puts_round_photos_is_no_part_of_its_map() -> None:
    """timm's ``border`` pads with the mean colour."""
    transform = create_transform(
        (3, 48, 48), mean=MEAN, std=STD, crop_pct=1.1, crop_mode="border", interpolation="bilinear"
    )
    made = pixel_input(net_with(ForeignTransform(lambda photo: transform(photo)[None])))
    assert made.size == (48, 48)
    torch.testing.assert_close(made.mean.flatten(), torch.tensor(MEAN), rtol=1e-5, atol=0)
    torch.testing.assert_close(made.std.flatten(), torch.tensor(STD), rtol=1e-5, atol=0)


def test_processors_and_configurations_of_other_libraries() -> None:
    """Hugging Face's processor is a ``Preprocess``; one that also rescales to [-1, 1] by an offset stays a callable."""
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD)
    made = agrees(net_with(from_processor(processor)), *photo_of(32, 32))
    assert (made.size, made.channels) == ((32, 32), 3)
    raw = agrees(net_with(lambda photo: processor(photo, return_tensors="pt")["pixel_values"]), *photo_of(32, 32))
    assert raw.size == (32, 32)


def test_timms_networks_have_their_preprocessing() -> None:
    from convscope.network.timm_models import _preprocess  # pyright: ignore[reportPrivateUsage]

    settings = dict(timm.get_pretrained_cfg("resnet18.a1_in1k").to_dict(), input_size=(3, 64, 64), crop_pct=1.0)
    net = net_with(_preprocess(settings, nets.plain()))
    made = agrees(net, *photo_of(64, 64))
    assert (made.size, made.channels) == ((64, 64), 3)


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean()) / x.std()


def by_its_range(x: Tensor) -> Tensor:
    return (x - x.min()) / (x.max() - x.min()).clamp(min=1) + x.amax() * 0


def sepia(x: Tensor) -> Tensor:
    return torch.tensor([[0.39, 0.77, 0.19], [0.35, 0.69, 0.17], [0.27, 0.53, 0.73]]).matmul(x.flatten(1)).view_as(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (standardised, "no photo of one colour"),
        (lambda x: (x - x.mean()) / (x.std() + 0.1), "no photo of one colour"),
        (lambda x: 0 * x, "no photo of one colour"),
        (lambda x: x * torch.tensor([1.0, 1.0, 0.0])[:, None, None], "no photo of one colour"),
        (partial(torch.pow, exponent=2.2), "a photo of four colours is .* away"),
        (lambda x: x - x.mean() + x.amax(), "no photo of one colour|a photo of four colours"),
        (by_its_range, "no photo of one colour|a photo of four colours"),
        (sepia, "no photo of one colour"),
        (lambda x: x.flip(2), "a photo of four colours is .* away"),
        (lambda x: torch.full_like(x, torch.nan), "no photo of one colour"),
    ],
)
def test_what_is_no_map_of_each_pixel_is_refused_by_name(change: Callable, message: str) -> None:
    with pytest.raises(ConvscopeError, match=f"no pictures can be made through .* of Sequential: ({message})"):
        pixel_input(net_with(composed(ToTensor(), change)))


class Fails(nn.Module):
    def forward(self, _: Image.Image) -> Tensor:
        raise RuntimeError("wants 32 x 32")


def test_what_fails_on_photos_of_one_colour_is_refused_by_name() -> None:
    with pytest.raises(ConvscopeError, match=r"preprocess 'Fails' of Sequential: .*\(1024, 1024\).*wants 32 x 32"):
        pixel_input(net_with(Fails()))
    with pytest.raises(ConvscopeError, match=r"preprocess gave \(3, 1024, 1024\)"):
        pixel_input(net_with(ToTensor()))
