"""Networks of timm by name, with the transform and the labels of their pretrained weights (``pip install
'convscope[timm]'``).

timm describes a network's input by its data configuration: (c, h, w), mean, std, interpolation, the share ``crop_pct``
of the resized picture that is cropped, and how. Its evaluation transform resizes to floor(side / crop_pct), the
shorter side (``center``) or both (``squash``), and crops the middle; that is a ``Preprocess``. ``border`` pads with the
mean colour and stays timm's own transform. Labels are those of ImageNet's lists by their number, 1k to 22k, as timm
itself infers them; a head of another size has none. Weights come as safetensors, or read with ``weights_only``.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.foreign_transforms import ForeignTransform, expressed
from convscope.network.preprocessing import Preprocess
from convscope.network.zoo import Found, missing_extra


def from_timm(name: str, *, pretrained: bool, classes: int = 0) -> Found:
    """A classifier of timm, ``resnet18`` or with the tag of its weights, ``resnet18.a1_in1k``.

    Args:
        name: as timm lists it.
        pretrained: False leaves it untrained.
        classes: outputs of an untrained head, 0 for its own.

    Raises:
        ConvscopeError: timm is not installed, no such network, no weights, or weights that cannot be downloaded.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise missing_extra("timm", name, error) from error
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        raise ConvscopeError(f"no network {architecture!r} in timm{nearest(architecture, timm.list_models())}")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if name != architecture and name not in tagged:
        raise ConvscopeError(f"timm has no weights {name!r}{nearest(name, tagged)}")
    if pretrained and not tagged:
        raise ConvscopeError(
            f"timm has no weights for {name!r}; give a file with --weights FILE, or --weights random for an untrained "
            "network"
        )
    module = _created(name, pretrained, classes)
    settings: dict[str, Any] = dict(getattr(module, "pretrained_cfg", None) or {})
    outputs = classes or settings.get("num_classes", 0)
    if pretrained and not outputs:
        raise ConvscopeError(
            f"timm:{name} has no head for classes: it gives features; load a live module and give a callable target"
        )
    return Found(module, _preprocess(settings, module), _labels(outputs), f"timm:{name}")


def _created(name: str, pretrained: bool, classes: int) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=classes or None)
    except Exception as error:  # many layers of downloading raise errors of their own
        if not pretrained:
            raise ConvscopeError(f"timm cannot build {name!r}: {type(error).__name__}: {error}") from error
        raise ConvscopeError(
            f"the weights of timm:{name} cannot be downloaded ({type(error).__name__}: {error}); give a file with "
            "--weights FILE, or --weights random for an untrained network"
        ) from error


def _preprocess(settings: Mapping[str, Any], module: nn.Module) -> Preprocess | ForeignTransform:
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    data = resolve_data_config(pretrained_cfg=dict(settings), model=module)
    transform: Any = create_transform(**data, is_training=False)
    return expressed(lambda photo: transform(photo)[None], suggested(data))


def suggested(data: Mapping[str, Any]) -> Preprocess | None:
    """What a data configuration of timm says as a ``Preprocess``; None where it cannot be one."""
    channels, height, width = data["input_size"]
    interpolation, mode = data["interpolation"], data.get("crop_mode") or "center"
    if channels != 3 or interpolation not in ("bilinear", "bicubic") or mode not in ("center", "squash"):
        return None
    scaled = math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"])
    if mode == "center" and height != width:
        return None
    size = scaled[0] if mode == "center" else scaled
    crop = height if height == width else (height, width)
    return Preprocess(size, crop, tuple(data["mean"]), tuple(data["std"]), interpolation)


def _labels(outputs: int) -> tuple[str, ...]:
    """ImageNet's names of a head of 1,000 to 21,843 outputs; none of another."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": outputs})
    return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()
