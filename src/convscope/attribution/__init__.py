"""Which part of this image explains the answer: tensors in, raw tensors out.

from convscope.attribution import grad_cam
heat = grad_cam(model, x, target=207, layer="layer4")        # (b, h, w)
"""

from convscope.attribution.activation_maps import cam, grad_cam, guided_grad_cam
from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.gradients import (
    gradient,
    guided_backprop,
    guided_saliency,
    input_x_gradient,
    reduce_channels,
    saliency,
)
from convscope.attribution.method import Method
from convscope.attribution.registry import METHODS, find_method
from convscope.attribution.sliding_occlusion import occlusion

__all__ = [
    "METHODS",
    "Method",
    "cam",
    "deconvnet",
    "find_method",
    "grad_cam",
    "gradient",
    "guided_backprop",
    "guided_grad_cam",
    "guided_saliency",
    "input_x_gradient",
    "occlusion",
    "reduce_channels",
    "saliency",
]
