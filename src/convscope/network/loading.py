"""From a name to a network that is ready to be explained: module, preprocessing, class names.

    bundled:tiny50               the model in the box; also what no name at all means
    torchvision:resnet50         with its pretrained weights, transforms and class names
    timm:resnet18                likewise; hf:ORG/NAME or hf:path/to/folder likewise: extras to install
    package.module:factory       a user's own model; path/file.py:factory likewise
    digits.run                   one that was trained here, by the folder of its training (``network.trained``)
    a live nn.Module             taken as it is: its mode and device stay

``weights`` is a file (see ``network.weights``) or ``"random"``; ``classes`` names the outputs, and sets the size
of a head that has another one, which then needs weights of its own.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network import zoo
from convscope.network.factories import build_from_factory
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from convscope.network.trained import from_run, is_run
from convscope.network.weights import load_into, read_weights

BUNDLED = "bundled:tiny50"
# built with first weights that are then replaced: the caller's random numbers go on as if nothing had been drawn
_NAMED = ("bundled", "torchvision", "timm", "hf")


@dataclass(frozen=True, eq=False)
class Network:
    """A module with what is needed to show it a photo and to read its answer.

    ``notes`` are things assumed while loading that the user should see; ``again`` are the arguments of ``load`` that
    make it again, as JSON takes them, with absolute paths: None for a live module, which no argument makes.
    """

    module: nn.Module
    preprocess: "Preprocess | Callable[[Image.Image], Tensor]"
    classes: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()
    again: Mapping[str, Any] | None = None
    _hashed: dict[str, Any] = field(default_factory=dict[str, Any], init=False, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the first parameter lives."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def precision(self) -> Tensor:
        """A tensor of the dtype and on the device that an input should have: the first parameter with a point."""
        return next((p for p in self.module.parameters() if p.is_floating_point()), torch.zeros(()))

    def input_of(self, photo: Image.Image) -> Tensor:
        """``(1, c, h, w)`` network input, on the network's device and in its precision."""
        return one_input(self.preprocess(photo)).to(self.precision)

    @property
    def always_one_size(self) -> bool:
        """Whether every photo becomes an input of the same size, as far as is known of the preprocessing."""
        return isinstance(self.preprocess, Preprocess) and self.preprocess.always_one_size

    def class_name(self, index: int) -> str:
        """The name of a class, or ``class 7`` where there are no names."""
        return self.classes[index] if self.classes else f"class {index}"

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over names, types, shapes and bytes of all parameters and buffers."""
        tensors = [*self.module.named_parameters(), *self.module.named_buffers()]
        # a live module may be trained on: hashed again when a tensor was written to, or holds other values
        state = tuple((name, 0 if t.is_inference() else t._version, _total(t)) for name, t in tensors)
        if self._hashed.get("state") != state:
            self._hashed.update(state=state, digest=_digest(tensors))
        return self._hashed["digest"]


def one_input(given: object) -> Tensor:
    """What a preprocessing gave for a photo, seen to be ``(1, c, h, w)``.

    Raises:
        ConvscopeError: it is anything else.
    """
    if isinstance(given, Tensor) and given.ndim == 4 and len(given) == 1:
        return given
    got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    raise ConvscopeError(
        f"preprocess gave {got}; it must turn a photo into (1, c, h, w). For the transform of torchvision's "
        "weights there is Preprocess.from_torchvision(transform)"
    )


def _total(tensor: Tensor) -> float:
    values = tensor.detach()
    values = values.cpu() if values.device.type == "mps" else values  # it has no float64
    return float((torch.view_as_real(values) if values.is_complex() else values).sum(dtype=torch.float64))


def _digest(tensors: Sequence[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
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
    if preprocess is not None and not size is mean is std is None:
        raise ConvscopeError(
            "size, mean and std change the network's own preprocessing; with preprocess= give them there"
        )
    place = None if device is None and isinstance(spec_or_module, nn.Module) else _device(device)
    found = _find(spec_or_module, weights, names, trust_pickle)
    prepared, notes = (preprocess, ()) if preprocess is not None else _adjusted(found, size, mean, std)
    module = found.module if isinstance(spec_or_module, nn.Module) else found.module.eval()
    again = None
    if isinstance(spec_or_module, str | None) and preprocess is None:
        again = _again(spec_or_module or BUNDLED, weights, classes) | {
            "size": size, "mean": mean and list(mean), "std": std and list(std),
        }  # fmt: skip
    module = module if place is None else module.to(place)
    return Network(module, prepared, names or found.classes, found.name, found.notes + notes, again)


def _again(spec: str, weights: str | Path | None, classes: Sequence[str] | str | Path | None) -> dict[str, Any]:
    """What ``load`` was given, for a program that is started in another folder."""
    path, colon, factory = spec.rpartition(":")
    if path.endswith(".py"):
        spec = f"{Path(path).absolute()}{colon}{factory}"
    kind, _, name = spec.partition(":")
    if kind == "hf" and Path(name).is_dir():
        spec = f"hf:{Path(name).absolute()}"
    spec = str(Path(spec).absolute()) if is_run(spec) else spec
    file = weights if weights is None or str(weights) == "random" else str(Path(weights).absolute())
    listed = str(Path(classes).absolute()) if isinstance(classes, str | Path) else classes and list(classes)
    return {"spec": spec, "weights": file, "classes": listed}


def _find(spec: str | nn.Module | None, weights: str | Path | None, names: tuple[str, ...], trust: bool) -> zoo.Found:
    if isinstance(spec, nn.Module):
        if weights is not None:
            raise ConvscopeError("a live module has its weights; weights= goes with a name")
        return zoo.Found(spec, None, (), type(spec).__name__)
    spec = spec or BUNDLED
    if is_run(spec):
        return _with_weights(from_run(spec, pretrained=weights is None), weights, names, trust)
    kind, _, name = spec.partition(":")
    if spec.endswith(".pt2"):
        raise ConvscopeError(f"{spec}: exported programs (.pt2) cannot be loaded yet")
    if not name:
        raise ConvscopeError(f"no model {spec!r}{zoo.meant(spec)}; a model is {', '.join(zoo.FORMS)}")
    with nullcontext() if str(weights) == "random" or kind not in _NAMED else torch.random.fork_rng(devices=[]):
        found = _built(spec, kind, name, weights is None, len(names), trust)
    return _with_weights(found, weights, names, trust)


def _built(spec: str, kind: str, name: str, pretrained: bool, classes: int, trust: bool) -> zoo.Found:
    if kind == "bundled":
        return zoo.bundled(name, pretrained=pretrained)
    if kind == "torchvision":
        return zoo.from_torchvision(name, pretrained=pretrained, classes=classes)
    if kind == "timm":
        from convscope.network.timm_models import from_timm

        return from_timm(name, pretrained=pretrained, classes=0 if pretrained else classes)
    if kind == "hf":
        from convscope.network.hf_models import from_hf

        return from_hf(name, pretrained=pretrained, classes=0 if pretrained else classes, trust_pickle=trust)
    module, constants = build_from_factory(spec)
    return zoo.from_constants(module, constants, spec)


def _with_weights(found: zoo.Found, weights: str | Path | None, names: tuple[str, ...], trust: bool) -> zoo.Found:
    if weights is None:
        if names and found.classes and len(names) != len(found.classes):
            raise ConvscopeError(
                f"{len(names)} class names for the {len(found.classes)} classes of {found.name}: its head would be "
                "untrained; give weights that fit (--weights FILE)"
            )
        return found
    if str(weights) == "random":
        if names:
            zoo.resize_head(found.module, len(names))
        return replace(found, name=f"{found.name} (random weights)")
    file = Path(weights)
    content = read_weights(file, trust_pickle=trust)
    if isinstance(content, nn.Module):
        return replace(found, module=content, name=f"{found.name} ({file.name})")
    load_into(found.module, found.renamed(content), file, classes=len(names) or None)
    return replace(found, name=f"{found.name} ({file.name})")


def _adjusted(
    found: zoo.Found, size: int | None, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple["Preprocess | Callable[[Image.Image], Tensor]", tuple[str, ...]]:
    base = found.preprocess
    notes: list[str] = []
    if base is not None and not isinstance(base, Preprocess):
        if not size is mean is std is None:
            raise ConvscopeError(
                f"{found.name} has a transform of its own that size, mean and std cannot change; give preprocess="
            )
        return base, ("the network's own transform is no resizing and cropping: maps are drawn on what it gives",)
    if base is None:
        _refuse_other_channels(found.module, mean, std)
        side = found.size or 224
        base = Preprocess(size=side, crop=side, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        if mean is None or std is None:
            notes.append("no mean and std known for this network: ImageNet's are used (--mean, --std)")
        if size is None and found.size is None:
            notes.append("no input size known for this network: 224 is used (--size)")
    elif base.size is None and size is None:
        notes.append("no input size known for this network: photos keep their own (--size)")
    if size is not None:
        if size < 1:
            raise ConvscopeError(f"size {size} px: an image has at least one pixel a side")
        base = replace(base, size=size, crop=size)
    if mean is not None or std is not None:
        new_mean, new_std = base.mean if mean is None else tuple(mean), base.std if std is None else tuple(std)
        base = replace(base, mean=new_mean, std=new_std)
    return base, tuple(notes)


def _refuse_other_channels(module: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """A network none of whose convolutions takes 3 channels needs numbers of its own; the order tells nothing."""
    taken = [m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)]
    channels = 3 if 3 in taken else min(taken, default=3)
    if channels != 3 and (mean is None or std is None or len(mean) != channels or len(std) != channels):
        raise ConvscopeError(f"the network takes {channels} channel(s): give as many numbers each for mean and std")


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
        if not classes:
            raise ConvscopeError("classes=[] holds no class names; None takes the network's own")
        return tuple(str(name) for name in classes)
    file = Path(classes)
    try:
        text = file.read_text(encoding="utf-8-sig")
        listed: Any = json.loads(text) if file.suffix == ".json" else text.rstrip().splitlines()
    except json.JSONDecodeError as error:
        raise ConvscopeError(f"{file} is no JSON: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConvscopeError(f"cannot read class names from {file}: {error}") from error
    names = tuple(str(name).strip() for name in cast("list[Any]", listed)) if isinstance(listed, list) else ()
    if not names:
        raise ConvscopeError(f"{file} holds no class names: one a line, or a JSON list")
    if "" in names:  # leaving it out would shift all that follow
        raise ConvscopeError(f"{file}: name {names.index('') + 1} of {len(names)} is blank")
    return names
