"""A network that was trained here: the folder of its training as a model, ``--model digits.run``.

``training.json`` says how to build it, ``weights.safetensors`` holds its weights; classes and preprocessing come along.
How to build it is one of

    {"kind": "small", "name": "digits", "classes": 10, "channels": 1, "size": 28}      see ``small_nets``
    {"kind": "spec", "spec": "torchvision:alexnet" or "/home/me/nets.py:factory", "classes": 5}
    {"kind": "headed", "base": one of these three, "layer", "head", ...}               see ``head_entries``

A training that goes on, or was stopped, is read as it is after its last whole epoch; a note says so. A network that a
program trained itself, through a ``Probe``, may have no such entry, and only that program can build it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess
from convscope.network.small_nets import small_net
from convscope.network.weights import load_into, read_weights
from convscope.network.zoo import Found
from convscope.store.checked_tensors import DamagedError, read_about
from convscope.store.run_folder import TRAINING, WEIGHTS, Training, training_of

SUFFIX = ".run"
KINDS = ("small", "spec", "headed")
_WEIGHTS = "weights"  # what the file says that it is
_WRONG = (KeyError, TypeError, AttributeError)


def is_run(spec: str) -> bool:
    """Whether a model's name is that of a training's folder: one is there, or the name ends as theirs do."""
    return (Path(spec) / TRAINING).is_file() or spec.rstrip("/").endswith(SUFFIX)


def from_run(spec: str, *, pretrained: bool = True) -> Found:
    """The network of a training, with its weights if ``pretrained``; the caller's random numbers are then as before.

    Raises:
        ConvscopeError: no training there (with the nearest names), one of which nobody knows how to build the network,
            or weights that are missing, damaged or do not fit.
    """
    folder = Path(spec)
    training = training_of(folder)
    name = folder.resolve().name
    with torch.random.fork_rng(devices=[], enabled=pretrained):
        module = _built(training, folder)
    notes = _loaded(module, training, folder) if pretrained else ()
    return Found(module, _preprocess(training, folder), training.classes, name, notes=notes)


def network_of(entry: Mapping[str, Any]) -> nn.Module:
    """The module that the ``"network"`` of a ``training.json`` describes, in training mode, weights yet to be loaded.

    Raises:
        ConvscopeError: an unknown kind, a network that cannot be built any more, or a damaged entry.
    """
    kind = entry.get("kind")
    try:
        if kind == "small":
            return small_net(entry["name"]).build(entry["classes"], entry["channels"], entry["size"])
        if kind == "spec":
            from convscope.network.head_entries import base_from_spec  # here: it loads networks, this among them

            return base_from_spec(entry).train()
        if kind == "headed":
            from convscope.network.head_entries import headed_from

            return headed_from(entry, network_of)
    except ConvscopeError:
        raise
    except (ValueError, *_WRONG) as error:
        raise ConvscopeError(f"the entry of a {kind} network is damaged: {type(error).__name__} {error}") from error
    raise ConvscopeError(f"no network of kind {kind!r}; there are {', '.join(KINDS)}: update convscope")


def preprocess_of(said: Mapping[str, Any]) -> Preprocess:
    """The preprocessing of a ``training.json``, which is ``dataclasses.asdict`` of it.

    Raises:
        ConvscopeError: it is anything else.
    """
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
        return Preprocess(**values)
    except TypeError as error:
        raise ConvscopeError(f"the preprocessing of a training is damaged: {error}") from error


def _built(training: Training, folder: Path) -> nn.Module:
    if training.network is None:
        raise ConvscopeError(
            f"{folder} is the training of a program's own network, which it does not say how to build; give a factory "
            f"that builds it and these weights: --model path/file.py:factory --weights {folder / WEIGHTS}"
        )
    try:
        return network_of(training.network)
    except ConvscopeError as error:
        raise ConvscopeError(
            f"the network of {folder} cannot be built: {error}{_if_moved(training.network, folder)}"
        ) from error


def _if_moved(entry: Mapping[str, Any], folder: Path) -> str:
    """What to do where the file of a factory is no more where it was."""
    while isinstance(below := entry.get("base"), Mapping):  # a head stands on it
        entry = cast("Mapping[str, Any]", below)
    spec = entry.get("spec")
    if not isinstance(spec, str) or Path(spec.rpartition(":")[0]).exists() or ".py:" not in spec:
        return ""
    return f'; where it has moved, say so in {folder / TRAINING}: "spec": "{spec}" is its place'


def _preprocess(training: Training, folder: Path) -> Preprocess | None:
    try:
        return None if training.preprocess is None else preprocess_of(training.preprocess)
    except ConvscopeError as error:
        raise ConvscopeError(f"{folder / TRAINING}: {error}") from error


def _loaded(module: nn.Module, training: Training, folder: Path) -> tuple[str, ...]:
    """Put the weights in; what the user should know of them."""
    file = folder / WEIGHTS
    if not file.exists():
        first = "was stopped before its first epoch was done" if not training.is_finished else "has lost its weights"
        raise ConvscopeError(
            f"no weights in {folder}: the training {first} (there is no {WEIGHTS}); go on with it: convscope train "
            f"... --out {folder} --resume, or --weights random for the untrained network"
        )
    epoch = _checked_epoch(file)
    content = read_weights(file)
    assert not isinstance(content, nn.Module)  # a .safetensors file holds tensors
    load_into(module, content, file)
    if training.is_finished:
        return ()
    after = f" of epoch {epoch}" + (f" of {training.epochs}" if training.epochs else "")
    return (f"the training is not finished: these are the weights{after}",)


def _checked_epoch(file: Path) -> int:
    """The epoch that weights are of, once their checksum was compared."""
    try:
        return int(read_about(file, _WEIGHTS)["epoch"])
    except (DamagedError, ValueError, *_WRONG) as error:
        raise ConvscopeError(f"{file} is damaged: {error}") from error
