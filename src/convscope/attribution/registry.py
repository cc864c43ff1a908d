"""Every attribution method by its name: what it is, what it claims, where it fails.

Command line, documentation and pages are made from this table, so that a method added here is known everywhere.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor, nn

from convscope.attribution.activation_maps import cam, grad_cam, guided_grad_cam
from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.gradients import gradient, guided_backprop, guided_saliency, input_x_gradient, saliency
from convscope.attribution.sliding_occlusion import occlusion
from convscope.errors import ConvscopeError, nearest

Output = Literal["pixels", "pixel map", "layer map"]
Look = Literal["gradient", "grain", "heat"]


@dataclass(frozen=True)
class Method:
    """One method; call it as ``method(model, x, target=..., ...)``.

    ``output`` is ``"pixels"`` (b, c, H, W), ``"pixel map"`` (b, H, W) or ``"layer map"`` (b, h, w);
    ``needs_layer`` says that it works at a layer (``layer=None`` takes a default one); ``signed`` that negative
    values mean something; ``claim`` is what the picture says, ``limits`` when not to believe it. ``look`` is how it is
    drawn (colours round grey, a grainy map on its own, heat on the photo), ``zero`` why a map may be zero everywhere.
    """

    name: str
    function: Callable[..., Any]
    output: Output
    needs_layer: bool
    signed: bool
    claim: str
    limits: str
    source: str
    look: Look
    zero: str

    def __call__(self, model: nn.Module, x: Any, **options: Any) -> Tensor:
        """Raw values; see the function's own documentation for the options."""
        return self.function(model, x, **options)

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Option -> default value, in the order of the signature."""
        options = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in options if p.kind is p.KEYWORD_ONLY}


def find_method(name: str) -> Method:
    """The method called ``name``; underscores and hyphens are alike.

    Raises:
        ConvscopeError: no such method; the message has the nearest names.
    """
    found = METHODS.get(name) or METHODS.get(name.replace("_", "-"))
    if found is None:
        raise ConvscopeError(f"no method {name!r}{nearest(name, METHODS)} (all: {', '.join(METHODS)})")
    return found


def _table(*methods: Method) -> Mapping[str, Method]:
    return MappingProxyType({m.name: m for m in methods})


_DEAD = "no pixel changes the score: every path to it goes through a ReLU that is off"
_BLOCKED = "the signal was negative somewhere on every path down, and a rectifier sends only the positive on"
_AGAINST = "the weighted sum of the maps is negative everywhere (relu=False shows it)"

METHODS: Mapping[str, Method] = _table(
    Method(
        name="gradient",
        function=gradient,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim="How the score changes with each pixel, a little way from this image.",
        limits="Says nothing of what would happen if an object were gone. Noisy where many ReLUs switch nearby.",
        zero=_DEAD,
        source="Simonyan et al. 2013",
    ),
    Method(
        name="saliency",
        function=saliency,
        output="pixel map",
        needs_layer=False,
        signed=False,
        look="grain",
        claim="Which pixels the score is most sensitive to, whatever the direction.",
        limits="Sensitivity is not evidence: edges of the background light up too.",
        zero=_DEAD,
        source="Simonyan et al. 2013",
    ),
    Method(
        name="input-x-gradient",
        function=input_x_gradient,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim="Each pixel's share of the score, were the network linear.",
        limits="Pixels of the mean colour get 0, whatever they show.",
        zero=_DEAD,
        source="Shrikumar et al. 2016",
    ),
    Method(
        name="guided-backprop",
        function=guided_backprop,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim="The fine structure that excites the units on the way to the score.",
        limits=(
            "Hardly changes with the class, or with the last layer's weights: it shows what can be seen, not why "
            "it was named."
        ),
        zero=_BLOCKED,
        source="Springenberg et al. 2014",
    ),
    Method(
        name="guided-saliency",
        function=guided_saliency,
        output="pixel map",
        needs_layer=False,
        signed=False,
        look="grain",
        claim="Where guided backprop finds structure.",
        limits="As guided-backprop: hardly depends on the class.",
        zero=_BLOCKED,
        source="Springenberg et al. 2014",
    ),
    Method(
        name="deconvnet",
        function=deconvnet,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim="The pattern in this image that drove a unit: by default the strongest one of the last map.",
        limits=(
            "Follows the pooling switches of this image, so it looks like the image; hardly depends on the class. "
            "A class as target can give exactly zero where the network ends in convolution, ReLU, pooling. Strided "
            "convolutions (ResNets) leave a checkerboard: pixels between their steps get fewer contributions."
        ),
        zero=_BLOCKED,
        source="Zeiler & Fergus 2014",
    ),
    Method(
        name="cam",
        function=cam,
        output="layer map",
        needs_layer=True,
        signed=True,
        look="heat",
        claim="Where the last map holds evidence for the class (and, negative, against it); its mean is the logit.",
        limits="Only for a linear head after a global average. Coarse: one cell is a whole receptive field.",
        zero="the layer is silent on this image",
        source="Zhou et al. 2016",
    ),
    Method(
        name="grad-cam",
        function=grad_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Where a layer holds evidence for the class.",
        limits=(
            "Coarse. Averaging the gradient over the map can put weight where the class is not; far from the head "
            "it fades."
        ),
        zero=_AGAINST,
        source="Selvaraju et al. 2017",
    ),
    Method(
        name="guided-grad-cam",
        function=guided_grad_cam,
        output="pixels",
        needs_layer=True,
        signed=True,
        look="gradient",
        claim="Fine structure where Grad-CAM finds the class.",
        limits="The detail is that of guided-backprop, with the same limits; only the region depends on the class.",
        zero="one of its factors is zero: " + _AGAINST,
        source="Selvaraju et al. 2017",
    ),
    Method(
        name="occlusion",
        function=occlusion,
        output="pixel map",
        needs_layer=False,
        signed=True,
        look="heat",
        claim="What the score loses when a square is covered.",
        limits=(
            "Depends on the square's size and colour; a covered image is unlike any that the network was trained on."
        ),
        zero="no covered square changes the score",
        source="Zeiler & Fergus 2014",
    ),
)
