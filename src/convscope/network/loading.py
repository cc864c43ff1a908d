"""From a name to a network that is ready to be explained: module, preprocessing, class names.

    bundled:tiny50               the model in the box; also what no name at all means
    torchvision:resnet50         with its pretrained weights, transforms and class names
    package.module:factory       a user's own model; path/file.py:factory likewise
    a live nn.Module             taken as it is: its mode and device stay

``weights`` is a file (see ``network.weights``) or ``"random"``; ``classes`` names the outputs, and sets the size
of a head that has another one, which then needs weights of its own.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path


import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network import zoo
from convscope.network.factories import build_from_factory
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from convscope.network.weights import load_into, read_weights

BUNDLED = "bundled:tiny50"

_LATER = {"timm": "timm models", "hf": "Hugging Face models"}


@dataclass(frozen=True, eq=False)
class Network:
    """A module with what is needed to show it a photo and to read its answer.

    ``notes`` are things assumed while loading that the user should see.
    """

    module: nn.Module
    preprocess: "Preprocess | Callable[[Image.Image], Tensor]"
    classes: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = field(default=())

    @property
    def device(self) -> torch.device:
        """Where the first parameter lives."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def input_of(self, photo: Image.Image) -> Tensor:
        """``(1, c, h, w)`` network input, on the network's device and in its precision."""
        parameter = next((p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(()))
        return self.preprocess(photo).to(parameter)

    def class_name(self, index: int) -> str:
        """The name of a class, or ``class 7`` where there are no names."""
        return self.classes[index] if self.classes else f"class {index}"

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over names and bytes of all parameters and buffers."""
        digest = hashlib.sha256()
        for name, value in self.module.state_dict().items():
            digest.update(name.encode())
            if isinstance(value, Tensor):
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]


def load(
    spec_or_module: str | nn.Module | None = None,
    weights: str | Path | None = None,
    classes: Sequence[str] | str | Path | None = None,
    preprocess: "Preprocess | Callable[[Image.Image], Tensor] | None" = None,
    device: str | torch.device | None = None,
    *,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    trust_pickle: bool = False,
) -> Network:
    """Load a network by name, or take a live module.

    Args:
        spec_or_module: see the module's docstring; None is the bundled model.
        weights: a .safetensors or .pt file; ``"random"`` for an untrained network; None for its own.
        classes: names in the order of the outputs, or a text file with one a line, or a JSON list.
        preprocess: photo -> ``(1, c, h, w)``; a ``Preprocess`` lets maps be drawn on the photo.
        device: moved there; a live module stays where it is by default, others go to CUDA where there is one.
        size: shorter side and crop in pixels, instead of the network's own.
        mean: one number a channel of the [0, 1] pixel values.
        std: likewise.
        trust_pickle: open pickled checkpoints, which can run any code.

    Raises:
        ConvscopeError: anything in this that does not exist or does not fit.
    """
    names = _class_names(classes)
    found = _find(spec_or_module, weights, names, trust_pickle)
    if preprocess is not None and (size or mean or std):
        raise ConvscopeError(
            "size, mean and std change the network's own preprocessing; with preprocess= give them there"
        )
    prepared, notes = (preprocess, ()) if preprocess is not None else _adjusted(found, size, mean, std)
    module = found.module
    if isinstance(spec_or_module, nn.Module):
        module = module if device is None else module.to(device)
    else:
        module = module.eval().to(_device(device))
    return Network(module, prepared, names or found.classes, found.name, (*found.notes, *notes))


def _find(spec: str | nn.Module | None, weights: str | Path | None, names: tuple[str, ...], trust: bool) -> zoo.Found:
    if isinstance(spec, nn.Module):
        if weights is not None:
            raise ConvscopeError("a live module has its weights; weights= goes with a name")
        return zoo.Found(spec, None, (), type(spec).__name__)
    spec = spec or BUNDLED
    kind, _, name = spec.partition(":")
    if kind in _LATER:
        raise ConvscopeError(
            f"{spec}: {_LATER[kind]} cannot be loaded by name yet; give path/file.py:factory or a live module"
        )
    if spec.endswith(".pt2"):
        raise ConvscopeError(f"{spec}: exported programs (.pt2) cannot be loaded yet")
    if not name:
        raise ConvscopeError(f"no model {spec!r}{zoo.meant(spec)}; a model is {', '.join(zoo.FORMS)}")
    if kind == "bundled":
        found = zoo.bundled(name)
    elif kind == "torchvision":
        found = zoo.from_torchvision(name, pretrained=weights is None, classes=len(names))
    else:
        module, constants = build_from_factory(spec)
        found = zoo.from_constants(module, constants, spec)
    return _with_weights(found, weights, names, trust)


def _with_weights(found: zoo.Found, weights: str | Path | None, names: tuple[str, ...], trust: bool) -> zoo.Found:
    resized = zoo.resize_head(found.module, len(names)) if names else False
    if weights is None:
        if resized:
            raise ConvscopeError(
                f"{len(names)} class names for a network with another number of outputs: its head would be untrained; "
                "give weights that fit (--weights FILE)"
            )
        return found
    if str(weights) == "random":
        return replace(found, name=f"{found.name} (random weights)")
    file = Path(weights)
    content = read_weights(file, trust_pickle=trust)
    if isinstance(content, nn.Module):
        return replace(found, module=content, name=f"{found.name} ({file.name})")
    load_into(found.module, content, file)
    return replace(found, name=f"{found.name} ({file.name})")


def _adjusted(
    found: zoo.Found, size: int | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Preprocess, tuple[str, ...]]:
    base = found.preprocess
    notes: list[str] = []
    if base is None:
        _refuse_other_channels(found.module, mean, std)
        base = Preprocess(size=224, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        if mean is None or std is None:
            notes.append("no mean and std known for this network: ImageNet's are used (--mean, --std)")
        if size is None:
            notes.append("no input size known for this network: 224 is used (--size)")
    if size is not None:
        if size < 1:
            raise ConvscopeError(f"size {size} px: an image has at least one pixel a side")
        base = replace(base, size=size, crop=size)
    if mean is not None or std is not None:
        base = replace(base, mean=tuple(mean or base.mean), std=tuple(std or base.std))
    return base, tuple(notes)


def _refuse_other_channels(module: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first else 3
    if channels != 3 and (mean is None or std is None or len(mean) != channels or len(std) != channels):
        raise ConvscopeError(f"the network takes {channels} channels: give {channels} numbers each for mean and std")


def _device(device: str | torch.device | None) -> torch.device:
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ConvscopeError(f"no device {str(device)!r} here: {str(error).splitlines()[0]}") from error
    return chosen


def _class_names(classes: Sequence[str] | str | Path | None) -> tuple[str, ...]:
    if classes is None:
        return ()
    if not isinstance(classes, str | Path):
        return tuple(str(name) for name in classes)
    file = Path(classes)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConvscopeError(f"cannot read class names from {file}: {error}") from error
    try:
        listed = json.loads(text) if file.suffix == ".json" else text.splitlines()
    except json.JSONDecodeError as error:
        raise ConvscopeError(f"{file} is no JSON: {error}") from error
    names = tuple(str(name).strip() for name in listed if str(name).strip()) if isinstance(listed, list) else ()
    if not names:
        raise ConvscopeError(f"{file} holds no class names: one a line, or a JSON list")
    return names
