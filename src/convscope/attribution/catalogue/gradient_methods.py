"""Methods that follow the score back to the pixels."""

from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.gradients import gradient, guided_backprop, guided_saliency, input_x_gradient, saliency
from convscope.attribution.method import Method

_DEAD = "no pixel changes the score: every path to it goes through a ReLU that is off"
_BLOCKED = "the signal was negative somewhere on every path down, and a rectifier sends only the positive on"

GRADIENT_METHODS = (
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
)
