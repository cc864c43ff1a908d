"""What learns: a small network by name, anybody's model, or a new head on a frozen one; all that a run needs of it.

``net`` is the network that people look at, ``module`` what is fitted: of a head on a frozen network the head alone,
whose input is what the frozen part says of each image. ``entry`` is how ``training.json`` builds it again, None for a
live module. First weights are drawn as of epoch 0 of the seed; the caller's random numbers go on as before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.head_entries import base_entry, head_on
from convscope.network.headed import HeadedNet, HeadOnFeatures
from convscope.network.loading import Network, load
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from convscope.network.small_nets import SMALL_NETS, SmallNet
from convscope.network.trained import is_run
from convscope.training.random_states import randomness_of
from convscope.training.recipe import Recipe

GREY = (0.5,)  # mean and deviation: black is -1 and white is 1

# measured on the held-out quarter itself: 98.4 to 99.3 % are told rightly with the seeds 0 to 4
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {"digits": Recipe(epochs=16, batch=16, learning_rate=3e-3, augment="shifts")}
)
FROM_SCRATCH, OF_A_HEAD = Recipe(epochs=20, augment="shifts-and-flips"), Recipe(epochs=20, learning_rate=3e-3)


@dataclass(frozen=True, eq=False)
class Learner:
    """``recipe`` is the usual one; ``units`` are those whose maps the probe keeps unless told otherwise."""

    net: Network
    module: nn.Module
    entry: Mapping[str, Any] | None
    recipe: Recipe
    units: tuple[str, ...] = ()

    @property
    def headed(self) -> HeadedNet | None:
        """The network, where it is a head on a frozen one."""
        is_new = isinstance(self.module, HeadOnFeatures)  # else one that was made before is trained on
        return self.net.module if is_new and isinstance(self.net.module, HeadedNet) else None


def learner_of(
    net: "str | nn.Module | Network",
    classes: Sequence[str],
    *,
    seed: int = 0,
    size: int | None = None,
    preprocess: Preprocess | None = None,
    device: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Learner:
    """A network that begins with random weights, or goes on with those of what is given.

    Args:
        net: a name of ``SMALL_NETS``, a model's name as ``load`` takes them, a live module, or a ``Network``.
        classes: of the data: as many outputs.
        seed: of the first weights.
        size: pixels a side of the input, where it is another than the network's usual.
        preprocess: of a live module.
        device: where it is trained; by default as ``load`` has it.
        mean: of the inputs, as ``load``.
        std: likewise.

    Raises:
        ConvscopeError: no such network; a live module without ``preprocess``.
    """
    if isinstance(net, Network | nn.Module):
        return _given(net, tuple(classes), preprocess, size, mean, std)
    with randomness_of(seed, 0):
        if net in SMALL_NETS:
            return _small(SMALL_NETS[net], tuple(classes), size, mean, std, device)
        if ":" not in net and not is_run(net):
            raise ConvscopeError(
                f"no network {net!r}{nearest(net, SMALL_NETS)}; there are {', '.join(SMALL_NETS)}, and your own by "
                "path/file.py:factory"
            )
        found = load(net, "random", classes, None, device, size=size, mean=mean, std=std)
    return Learner(found, found.module, base_entry(found), FROM_SCRATCH)


def head_learner(base: Network, layer: str | None, head: str, classes: Sequence[str], *, seed: int = 0) -> Learner:
    """A new head on a frozen network; see ``network.head_entries``."""
    headed, entry = head_on(base, layer, head, len(classes), seed=seed)
    net = replace(base, module=headed, classes=tuple(classes), again=None)
    return Learner(net, headed.on_features(), entry, OF_A_HEAD)


def _given(
    net: "nn.Module | Network", classes: tuple[str, ...], preprocess: Preprocess | None, *changes: object
) -> Learner:
    """Trained in place, from the weights that it has."""
    if any(change is not None for change in changes):
        raise ConvscopeError("size, mean and std are of a network that is built by name; this one has its own input")
    if isinstance(net, Network):
        entry = None if net.again is None else base_entry(net)
        return Learner(replace(net, classes=classes), net.module, entry, FROM_SCRATCH)
    if preprocess is None:
        raise ConvscopeError(
            "how are photos prepared for this module? give preprocess=Preprocess(size, crop, mean, std)"
        )
    return Learner(Network(net, preprocess, classes, type(net).__name__), net, None, FROM_SCRATCH)


def _small(
    small: SmallNet, classes: tuple[str, ...], size: int | None, mean: Sequence[float] | None,
    std: Sequence[float] | None, device: str | None,
) -> Learner:  # fmt: skip
    usual = (GREY, GREY) if small.channels == 1 else (IMAGENET_MEAN, IMAGENET_STD)
    side = size or small.size
    means, stds = tuple(mean or usual[0]), tuple(std or usual[1])
    module = small.build(len(classes), len(means), side)
    prepared = Preprocess(size=side, crop=side, mean=means, std=stds)
    net = load(module, None, classes, prepared, device or ("cuda" if torch.cuda.is_available() else None))
    entry = {"kind": "small", "name": small.name, "classes": len(classes), "channels": len(means), "size": side}
    last = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)][-1]
    named = replace(net, name=small.name)
    return Learner(named, module, entry, RECIPES.get(small.name, FROM_SCRATCH), tuple(f"{last}:{k}" for k in range(4)))
