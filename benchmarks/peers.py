"""The other packages behind one shape of call, so that they stand beside convscope in one run.

A peer that is not installed is left out, and the run says so: ``python -m pip install -e '.[peers]'``.
"""

import functools
import importlib.util
from collections.abc import Callable

from torch import Tensor, nn

MapOf = Callable[[nn.Module, Tensor, int, str], object]


@functools.cache
def available(package: str, called: str) -> bool:
    if importlib.util.find_spec(package) is not None:
        return True
    print(f"{called} not installed: left out")
    return False


def grad_cams() -> dict[str, MapOf]:
    """Each peer's Grad-CAM of one class at one named layer, without upsampling where it can be left out."""
    from convscope.attribution import grad_cam

    found: dict[str, MapOf] = {"convscope": lambda model, x, k, layer: grad_cam(model, x, target=k, layer=layer)}
    if available("captum", "captum"):
        found["captum"] = _captum
    if available("pytorch_grad_cam", "grad-cam"):
        found["grad-cam"] = _pytorch_grad_cam
    if available("torchcam", "torchcam"):
        found["torchcam"] = _torchcam
    return found


def _captum(model: nn.Module, x: Tensor, k: int, layer: str) -> object:
    from captum.attr import LayerGradCam

    return LayerGradCam(model, model.get_submodule(layer)).attribute(x, target=k, relu_attributions=True)


def _pytorch_grad_cam(model: nn.Module, x: Tensor, k: int, layer: str) -> object:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(model=model, target_layers=[model.get_submodule(layer)]) as method:
        return method(input_tensor=x, targets=[ClassifierOutputTarget(k)] * len(x))


def _torchcam(model: nn.Module, x: Tensor, k: int, layer: str) -> object:
    from torchcam.methods import GradCAM

    with GradCAM(model, layer) as method:
        return method(k, model(x), normalized=False)
