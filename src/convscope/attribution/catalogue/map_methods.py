"""Methods that weigh the maps of a layer."""

from convscope.attribution.ablation_map import ablation_cam
from convscope.attribution.activation_maps import cam, grad_cam, guided_grad_cam
from convscope.attribution.eigen_map import eigen_cam
from convscope.attribution.method import Method
from convscope.attribution.plus_plus_map import grad_cam_pp
from convscope.attribution.score_map import score_cam
from convscope.attribution.weighted_maps import hires_cam, layer_cam, xgrad_cam

_SILENT = "the layer is silent on this image"
_NO_RISE = "nothing that is active in the layer raises the score"
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
        zero=_SILENT,
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
        name="grad-cam++",
        function=grad_cam_pp,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Where a layer is active in channels that raise the score anywhere; of several objects each is lit.",
        limits=(
            "Evidence against is left out, so classes look alike: on ResNet-20's last layer the maps of the two top "
            "classes correlate at 0.75 (Grad-CAM 0.27), on its inner layers at 0.92 and more, where nearly the whole "
            "map is lit. Only for rectified layers."
        ),
        zero=_NO_RISE,
        source="Chattopadhay et al. 2018",
    ),
    Method(
        name="xgrad-cam",
        function=xgrad_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Where a layer holds evidence for the class, in channels weighed so that the signed map sums to sum g A.",
        limits=(
            "Below a global average and a linear layer it is Grad-CAM. Before a ReLU positive and negative activations "
            "cancel in its divisor, and one channel may fill the picture (up to 3,000 times Grad-CAM's values at "
            "SqueezeNet's first convolution): take the rectified layer."
        ),
        zero=_AGAINST,
        source="Fu et al. 2020, BMVC",
    ),
    Method(
        name="layer-cam",
        function=layer_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Which cells of a layer, each by its own gradient, raise the score; detailed in inner layers too.",
        limits=(
            "Evidence against is left out: on ResNet-20's last layer the runner-up's map looks like the top class's "
            "(correlation 0.77, Grad-CAM 0.27). In early layers a few bright cells at edges and corners."
        ),
        zero=_NO_RISE,
        source="Jiang et al. 2021",
    ),
    Method(
        name="hires-cam",
        function=hires_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="What each cell of a layer adds to the score (to first order; exactly, below a linear head).",
        limits=(
            "Below a global average and a linear layer it is Grad-CAM. In inner layers gradients change sign from cell "
            "to cell, and the picture is a handful of points: in SqueezeNet's features.4 one cell in thirty is above a "
            "quarter of the maximum."
        ),
        zero=_AGAINST,
        source="Draelos & Carin 2020",
    ),
    Method(
        name="ablation-cam",
        function=ablation_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Where the channels are active that the score would lose most without, one at a time.",
        limits=(
            "Coarse, and on nets that end in a mean and one layer hardly another map than Grad-CAM's, for hundreds of "
            "passes. Channels that back each other up lose nothing one at a time; zero is not 'off' below a batch norm."
        ),
        zero=_AGAINST + ", or the score is exactly 0 and has no shares",
        source="Desai & Ramaswamy 2020",
        slow=True,
    ),
    Method(
        name="score-cam",
        function=score_cam,
        output="layer map",
        needs_layer=True,
        signed=False,
        look="heat",
        claim="Where the channels are active whose maps, as masks on the picture, leave the most of the class.",
        limits=(
            "Coarse. The softmax of logits is steep: on a confident answer a few channels make the map, whatever else "
            "there is (on the CIFAR ResNet-20's horse one of 64 has 78 % of the weight). It never shows evidence "
            "against a class, and gives a map for a class that is not there as well."
        ),
        zero="every map of the layer is flat on this image: none can be a mask",
        source="Wang et al. 2020",
        slow=True,
    ),
    Method(
        name="eigen-cam",
        function=eigen_cam,
        output="layer map",
        needs_layer=True,
        signed=True,
        look="heat",
        claim="What a layer's channels respond to together, most of all; the same map for every class.",
        limits=(
            "Not an explanation of an answer: no class enters. In the last layer it mostly lies on the main object; in "
            "inner ones nearly the whole map is lit, and the background often more than the object. The sign is a "
            "choice: the mean is made positive."
        ),
        zero=_SILENT,
        source="Muhammad & Yeasin 2020",
        classless=True,
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
