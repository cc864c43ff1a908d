"""Where networks come from by name: the bundled one, torchvision's, and what a user's file says of its own."""

import importlib.resources
import json
import operator
import re
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.preprocessing import Preprocess
from convscope.network.tiny50 import MEAN, SIZE, STD, Tiny50

FORMS = (
    "torchvision:NAME",
    "timm:NAME",
    "hf:ORG/NAME",
    "package.module:factory",
    "path/file.py:factory",
    "bundled:tiny50",
    "NAME.run",
)


def _as_they_are(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights


@dataclass(frozen=True, eq=False)
class Found:
    """A module and what is known of it: ``preprocess`` None and ``classes`` empty where nothing is.

    ``size`` is in pixels, of a network of which no more is known; ``renamed`` turns the names in a file of weights into
    the module's, where a library writes others. ``notes`` are for the user to see.
    """

    module: nn.Module
    preprocess: "Preprocess | Callable[[Image.Image], Tensor] | None"
    classes: tuple[str, ...]
    name: str
    size: int | None = None
    renamed: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _as_they_are
    notes: tuple[str, ...] = ()


def bundled(name: str, *, pretrained: bool = True) -> Found:
    """The model in the box.

    Raises:
        ConvscopeError: any other name than ``tiny50``.
    """
    if name.partition(":")[0].partition("/")[0] == "digits":
        raise ConvscopeError(
            f"bundled:{name} is data, no model; train one: convscope train bundled:digits --out digits.run, and then "
            "give digits.run"
        )
    if name != "tiny50":
        raise ConvscopeError(f"no bundled model {name!r}; there is bundled:tiny50")
    with (
        importlib.resources.as_file(importlib.resources.files("convscope.network") / "tiny50.safetensors") as file,
        safe_open(file, framework="pt") as weights,
    ):
        classes = tuple(json.loads(weights.metadata()["classes"]))
        module = Tiny50(len(classes))
        if pretrained:
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
    default: Any = getattr(models.get_model_weights(name), "DEFAULT")  # noqa: B009 - an alias that enum stubs hide
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
    return Found(module, Preprocess.from_torchvision(default.transforms()), categories, f"torchvision:{name}")


def missing_extra(extra: str, name: str, error: ModuleNotFoundError) -> ConvscopeError:
    """What to install for ``timm:`` and ``hf:`` networks."""
    return ConvscopeError(
        f"'{extra}:{name}' needs the extra: pip install 'convscope[{extra}]' (there is no module {error.name!r})"
    )


def from_constants(module: nn.Module, constants: Mapping[str, Any], spec: str) -> Found:
    """A user's model with the ``MEAN``, ``STD``, ``SIZE`` and ``CLASSES`` of its file.

    Raises:
        ConvscopeError: constants that are not what they must be, or one of ``MEAN`` and ``STD`` without the other.
    """
    classes = constants.get("CLASSES", ())
    if not isinstance(classes, list | tuple):
        raise ConvscopeError(f"CLASSES in the file of {spec} is a {type(classes).__name__}; it must be a list of names")
    names = tuple(str(name) for name in cast("Sequence[Any]", classes))
    try:
        size = operator.index(constants["SIZE"]) if "SIZE" in constants else None
        mean, std = (tuple(float(v) for v in constants.get(name, ())) for name in ("MEAN", "STD"))
    except (TypeError, ValueError) as error:
        raise ConvscopeError(f"MEAN, STD or SIZE in the file of {spec} are no numbers: {error}") from error
    if not mean and not std:
        return Found(module, None, names, spec, size)
    return Found(module, Preprocess(size=size, crop=size, mean=mean, std=std), names, spec)


def resize_head(module: nn.Module, classes: int) -> None:
    """Give the last linear layer ``classes`` untrained outputs, or the last convolution of a network without any."""
    layers = [m for m in module.modules() if isinstance(m, nn.Linear)]
    layers = layers or [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if not layers:
        return
    last, outputs = layers[-1], "out_features" if isinstance(layers[-1], nn.Linear) else "out_channels"
    if getattr(last, outputs) != classes:
        for name, old in list(last.named_parameters(recurse=False)):
            setattr(last, name, nn.Parameter(old.new_empty(classes, *old.shape[1:])))
        setattr(last, outputs, classes)
        last.reset_parameters()


def meant(spec: str) -> str:
    """The nearest networks with their ``torchvision:`` or ``bundled:``, for somebody who left that out."""
    from torchvision import models

    full = {name: f"torchvision:{name}" for name in models.list_models(module=models)} | {"tiny50": "bundled:tiny50"}
    return re.sub("'(.+?)'", lambda found: repr(full[found[1]]), nearest(spec, full))
