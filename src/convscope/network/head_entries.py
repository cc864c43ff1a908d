"""A headed network as JSON: how to build it again, without its weights.

    {"kind": "headed", "base": how to build the base, "layer", "head": "mean", "maps": [c, h, w], "classes": 5,
     "left_out": the base's modules that never run}

The weights are stored beside it, those of the base up to the layer included, so that nothing of where the base came
from is needed again but its architecture: ``{"kind": "spec", "spec": "torchvision:alexnet", "classes": null}`` is built
with random weights, which are then all replaced; nothing is downloaded. Where the base was itself trained here, its own
entry stands there instead, and its folder is not needed either.

That a name builds the same architecture with random weights as with pretrained ones is not so for every name
(torchvision's GoogLeNet changes its input where it is pretrained). So ``entry_of`` proves it while the base is at hand:
what is built from the entry, with the weights, must give the same features to the last bit.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer
from convscope.network.headed import HeadedNet, head_of, put_head, without
from convscope.network.listing import example_input
from convscope.network.loading import Network, load
from convscope.network.preprocessing import Preprocess
from convscope.network.trained import is_run, network_of
from convscope.store.run_folder import training_of

Entry = Mapping[str, Any]
Build = Callable[[Entry], nn.Module]

KIND, BASE_KIND = "headed", "spec"


def headed_from(entry: Entry, build: Build) -> HeadedNet:
    """The network that an entry describes, with weights yet to be loaded.

    Args:
        entry: as above.
        build: makes the base of its own entry, with any weights: ``base_from_spec`` for ``"kind": "spec"``.

    Raises:
        ConvscopeError: a base that cannot be built any more, or that has become another.
    """
    c, h, w = entry["maps"]
    try:
        base = without(build(entry["base"]), entry["left_out"])
    except ConvscopeError as error:
        raise ConvscopeError(f"the network below the head cannot be built again: {error}") from error
    like = next((p for p in base.parameters() if p.is_floating_point()), torch.zeros(()))
    head = head_of(entry["head"], (c, h, w), entry["classes"]).to(like.dtype)
    return HeadedNet(base, entry["layer"], head, entry["left_out"])


def base_from_spec(entry: Entry) -> nn.Module:
    """The base of ``"kind": "spec"`` with random weights, on the CPU."""
    names = None if entry["classes"] is None else [str(k) for k in range(entry["classes"])]
    with torch.random.fork_rng(devices=[]):
        # a preprocessing of one's own: what is not known of the input is not asked for
        return load(entry["spec"], "random", names, preprocess=_no_photos, device="cpu").module


def _no_photos(_photo: Image.Image) -> Tensor:
    return torch.zeros(1, 1, 1, 1)


def base_entry(net: Network) -> Entry:
    """How to build the base again.

    Raises:
        ConvscopeError: a live module, or a run of one, which no name makes.
    """
    if net.again is None:
        raise ConvscopeError(
            f"{net.name} was given as a live module, which no file can build again: give its name "
            "(torchvision:NAME, path/file.py:factory, ...), with its weights in a file"
        )
    spec = str(net.again["spec"])
    if is_run(spec):
        training = training_of(Path(spec))
        if training.network is None:
            raise ConvscopeError(f"{spec} does not say how its network is built: give a factory and these weights")
        return training.network
    named = net.again["classes"] is not None
    return {"kind": BASE_KIND, "spec": spec, "classes": len(net.classes) if named else None}


def head_on(
    base: Network, layer: str | None, kind: str, classes: int, *, seed: int = 0
) -> tuple[HeadedNet, dict[str, Any]]:
    """A new head on a copy of ``base``, as ``put_head``, and the entry that builds it again, proved to do so.

    Args:
        base: loaded by name; it stays as it was.
        layer: its layer; None: the last map before its own head.
        kind: ``"mean"``, ``"flat"`` or ``"mlp"``.
        classes: how many the head tells apart.
        seed: of the head's first weights.

    Raises:
        ConvscopeError: as ``put_head`` and ``base_entry``; a base whose name builds another network, or with a
            transform of its own that cannot be written down.
    """
    if not isinstance(base.preprocess, Preprocess):
        raise ConvscopeError(
            f"{base.name} has a transform of its own that no file can hold: its photos could not be prepared again"
        )
    below = base_entry(base)
    x = _different(example_input(base))
    layer = default_layer(base.module, x) if layer is None else layer
    net = put_head(base.module, layer, kind, classes, x, seed=seed)
    with evaluation(net), torch.no_grad():
        maps = list(net.features(x.clone()).shape[1:])
    entry: dict[str, Any] = {
        "kind": KIND,
        "base": below,
        "layer": layer,
        "head": kind,
        "maps": maps,
        "classes": classes,
    }
    entry["left_out"] = list(net.left_out)
    _prove(net, entry, x)
    return net, entry


def _different(x: Tensor) -> Tensor:
    """Two inputs of that size whose values differ: features of a constant one may agree by chance."""
    values = torch.rand(2, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    return values.to(x)


def _prove(net: HeadedNet, entry: Entry, x: Tensor) -> None:
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced
        again = headed_from(entry, network_of)
    what = f"the network that {entry['base'].get('spec', 'the base')} builds without its own weights"
    try:
        again.load_state_dict(net.state_dict())
    except RuntimeError as error:
        raise ConvscopeError(f"{what} does not take them: {str(error).splitlines()[-1].strip()}") from error
    with evaluation(again), torch.no_grad():
        same = torch.equal(again.to(x.device).features(x.clone()), net.features(x.clone()))
    if not same:
        raise ConvscopeError(
            f"{what} gives other features with them: it could not be read again. Write a factory that builds it "
            "(path/file.py:factory), and give its weights in a file"
        )
