"""Which part of this image explains the answer: tensors in, raw tensors out.

from convscope.attribution import grad_cam
heat = grad_cam(model, x, target=207, layer="layer4")        # (b, h, w)
"""

from convscope.attribution.ablation_map import ablation_cam
from convscope.attribution.activation_maps import cam, grad_cam, guided_grad_cam
from convscope.attribution.deconvolution import deconvnet
from convscope.attribution.eigen_map import eigen_cam
from convscope.attribution.gradients import (
    gradient,
    guided_backprop,
    guided_saliency,
    input_x_gradient,
    reduce_channels,
    saliency,
)
from convscope.attribution.important_units import most_important_units, normalised_after, unit_importance
from convscope.attribution.method import Method
from convscope.attribution.noisy_gradients import smooth_grad, var_grad
from convscope.attribution.path_gradients import integrated_gradients, integrated_gradients_and_gap
from convscope.attribution.plus_plus_map import grad_cam_pp
from convscope.attribution.random_masks import rise
from convscope.attribution.registry import METHODS, find_method
from convscope.attribution.score_map import score_cam
from convscope.attribution.sliding_occlusion import occlusion
from convscope.attribution.unit_ablation import ablated, effect_of_each
from convscope.attribution.unit_values import unit_activations, unit_means
from convscope.attribution.weighted_maps import hires_cam, layer_cam, xgrad_cam

__all__ = [
    "METHODS",
    "Method",
    "ablated",
    "ablation_cam",
    "cam",
    "deconvnet",
    "effect_of_each",
    "eigen_cam",
    "find_method",
    "grad_cam",
    "grad_cam_pp",
    "gradient",
    "guided_backprop",
    "guided_grad_cam",
    "guided_saliency",
    "hires_cam",
    "input_x_gradient",
    "integrated_gradients",
    "integrated_gradients_and_gap",
    "layer_cam",
    "most_important_units",
    "normalised_after",
    "occlusion",
    "reduce_channels",
    "rise",
    "saliency",
    "score_cam",
    "smooth_grad",
    "unit_activations",
    "unit_importance",
    "unit_means",
    "var_grad",
    "xgrad_cam",
]
