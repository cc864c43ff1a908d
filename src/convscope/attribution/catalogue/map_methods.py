"""Methods that weigh the maps of a layer."""

from convscope.attribution.activation_maps import cam, grad_cam, guided_grad_cam
from convscope.attribution.method import Method

_AGAINST = "the weighted sum of the maps is negative everywhere (relu=False shows it)"

MAP_METHODS = (
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
)
