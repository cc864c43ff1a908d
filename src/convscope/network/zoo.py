"""Where networks come from by name: the bundled one, torchvision's, and what a user's file says of its own."""

import importlib.resources
import json
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from safetensors import safe_open
from torch import nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.preprocessing import Preprocess
from convscope.network.tiny50 import MEAN, SIZE, STD, Tiny50

FORMS = ("torchvision:NAME", "package.module:factory", "path/file.py:factory", "bundled:tiny50")


@dataclass(frozen=True, eq=False)
class Found:
    """A module and what is known of it: ``preprocess`` None and ``classes`` empty where nothing is."""

    module: nn.Module
    preprocess: Preprocess | None
    classes: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()


def bundled(name: str) -> Found:
    """The model in the box.

    Raises:
        ConvscopeError: any other name than ``tiny50``.
    """
    if name != "tiny50":
        raise ConvscopeError(f"no bundled model {name!r}; there is bundled:tiny50")
    with (
        importlib.resources.as_file(importlib.resources.files("convscope.network") / "tiny50.safetensors") as file,
        safe_open(file, framework="pt") as weights,
    ):
        classes = tuple(json.loads(weights.metadata()["classes"]))
        module = Tiny50(len(classes))
        module.load_state_dict({key: weights.get_tensor(key).float() for key in weights.keys()})  # noqa: SIM118
    return Found(module, Preprocess(size=SIZE, crop=SIZE, mean=MEAN, std=STD), classes, "bundled:tiny50")


def from_torchvision(name: str, *, pretrained: bool, classes: int = 0) -> Found:
    """A classifier of torchvision's zoo, with the transforms and class names of its default weights.

    Raises:
        ConvscopeError: no such classifier, or weights that cannot be downloaded.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ConvscopeError(f"no classifier {name!r} in torchvision{nearest(name, known)}")
    default = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {}
    if not pretrained and name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # weights follow, or none are wanted
    if classes and not pretrained:
        options["num_classes"] = classes
    try:
        module = models.get_model(name, weights=default if pretrained else None, **options)
    except (urllib.error.URLError, OSError) as error:
        raise ConvscopeError(
            f"the weights of torchvision:{name} cannot be downloaded ({error}); give a file with --weights FILE, or "
            "--weights random for an untrained network"
        ) from error
    categories = tuple(default.meta["categories"])
    names = () if classes and classes != len(categories) else categories
    return Found(module, Preprocess.from_torchvision(default.transforms()), names, f"torchvision:{name}")


def from_constants(module: nn.Module, constants: Mapping[str, Any], spec: str) -> Found:
    """A user's model with the ``MEAN``, ``STD``, ``SIZE`` and ``CLASSES`` of its file.

    Raises:
        ConvscopeError: constants that are not what they must be.
    """
    classes = tuple(str(c) for c in constants.get("CLASSES", ()))
    if "MEAN" not in constants or "STD" not in constants:
        return Found(module, None, classes, spec)
    try:
        mean, std = tuple(float(v) for v in constants["MEAN"]), tuple(float(v) for v in constants["STD"])
        size = int(constants["SIZE"]) if "SIZE" in constants else None
    except (TypeError, ValueError) as error:
        raise ConvscopeError(f"MEAN, STD or SIZE in the file of {spec} are no numbers: {error}") from error
    notes = () if size else ("the file has MEAN and STD but no SIZE: photos keep their own size (--size)",)
    return Found(module, Preprocess(size=size, crop=size, mean=mean, std=std), classes, spec, notes)


def resize_head(module: nn.Module, classes: int) -> bool:
    """Give the last layer ``classes`` outputs; False where it has as many, or where nothing is known to change.

    The last linear layer, or the 1x1 convolution of a head that pools afterwards (SqueezeNet), is replaced by an
    untrained one.
    """
    layers = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        return False
    name, last = layers[-1]
    parent, _, own = name.rpartition(".")
    has_bias = last.bias is not None
    if isinstance(last, nn.Linear):
        if last.out_features == classes:
            return False
        new: nn.Module = nn.Linear(last.in_features, classes, bias=has_bias)
    else:
        if last.out_channels == classes:
            return False
        new = nn.Conv2d(last.in_channels, classes, last.kernel_size, last.stride, last.padding, bias=has_bias)  # type: ignore[arg-type]
    setattr(module.get_submodule(parent), own, new)
    return True


def meant(spec: str) -> str:
    """The nearest name with its ``torchvision:`` before it, for somebody who left that out."""
    from torchvision import models

    return nearest(
        f"torchvision:{spec}", [f"torchvision:{n}" for n in models.list_models(module=models)] + ["bundled:tiny50"]
    )
