"""Methods that follow the score back to the pixels."""

from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.gradients import gradient, guided_backprop, guided_saliency, input_x_gradient, saliency
from convscope.attribution.method import Method
from convscope.attribution.noisy_gradients import smooth_grad, var_grad
from convscope.attribution.path_gradients import integrated_gradients, measured_integrated_gradients

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
        name="smooth-grad",
        function=smooth_grad,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim="How the score changes with each pixel, on average over noisy copies of this image.",
        limits=(
            "Tells of the noisy copies: at the usual noise 0.15 few are still named as the image (bundled:tiny50 31 %, "
            "CIFAR ResNet-20 12 %, SqueezeNet 6 %). On the bundled network outlines come out clean; on ResNet-20 the "
            "map is noise: noise=0.05 shows more on it and on SqueezeNet. Edges of the background light up too."
        ),
        zero=_DEAD,
        source="Smilkov et al. 2017",
    ),
    Method(
        name="var-grad",
        function=var_grad,
        output="pixels",
        needs_layer=False,
        signed=False,
        look="grain",
        claim="Where the gradient changes most when a little noise is added to the image.",
        limits=(
            "Without a sign: a large value is neither for nor against the class. Tells of the noisy copies, few of "
            "which are still named as the image at noise 0.15; on such networks (SqueezeNet, CIFAR ResNet-20) it "
            "covers the object or the middle as a blotch."
        ),
        zero="the gradient is the same for all noisy copies: no noise (a constant image), or a linear network",
        source="Adebayo et al. 2018",
    ),
    Method(
        name="integrated-gradients",
        function=integrated_gradients,
        measuring=measured_integrated_gradients,
        output="pixels",
        needs_layer=False,
        signed=True,
        look="gradient",
        claim=(
            "Each pixel's share of the difference in score between this image and a baseline, by default the mean "
            "colour everywhere."
        ),
        limits=(
            "Pixels of the baseline's colour get 0, whatever they show, and another baseline gives another map. As "
            "grainy as the gradient. The gap tells how well the integral was computed, not how true the map is; on "
            "ReLU networks it is some percent of the difference at 50 steps (bundled:tiny50 0.6 %, CIFAR ResNet-20 "
            "2 %), more steps shrink it."
        ),
        zero="the image is the baseline, or no pixel changes the score on the way from one to the other",
        source="Sundararajan et al. 2017",
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
