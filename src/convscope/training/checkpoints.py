"""What a training goes on from: weights, the optimiser's state and the history, after the last epoch that was whole.

    checkpoint.safetensors   weights/NAME, optimiser/NUMBER/NAME; says of itself {"epoch", "history", "confusion", ...}
    weights.safetensors      NAME; says of itself {"epoch"}: for whoever loads the network

Everything that going on needs is in the one file, which is replaced at once: a kill between two files could leave
those of two epochs. Random states are not in it (``random_states``), nor is the place in an epoch: the epoch that was
broken off is made again. The weights are written after it; where a kill falls between, going on writes them.

Floating point numbers are kept to the last bit. Types that numpy does not know (bfloat16) are refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.store.checked_tensors import DamagedError, read_about, read_tensors, write_checked
from convscope.store.run_folder import CHECKPOINT, WEIGHTS

Facts = dict[str, Any]
_CHECKPOINT, _WEIGHTS = "checkpoint", "weights"
_OF_NET, _OF_OPTIMISER = "weights/", "optimiser/"


def write_checkpoint(folder: Path, net: nn.Module, optimiser: torch.optim.Optimizer, facts: Mapping[str, Any]) -> None:
    """Both files. ``facts``: JSON values, ``epoch`` among them.

    Raises:
        UnwritableError: the disk is full, or the folder cannot be written into; the files of the epoch before stay.
    """
    weights = arrays_of(net)
    tensors = {f"{_OF_NET}{name}": values for name, values in weights.items()}
    for number, state in cast("Mapping[int, Mapping[str, Tensor]]", optimiser.state_dict()["state"]).items():
        present = {name: values for name, values in state.items() if isinstance(values, Tensor)}  # pyright: ignore[reportUnnecessaryIsInstance]
        tensors |= {f"{_OF_OPTIMISER}{number}/{name}": _array(name, values) for name, values in present.items()}
    write_checked(folder / CHECKPOINT, _CHECKPOINT, facts, tensors)
    write_checked(folder / WEIGHTS, _WEIGHTS, {"epoch": facts["epoch"]}, weights)


def arrays_of(net: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and buffers by name, copied off the device.

    Raises:
        ConvscopeError: a network whose state is more than tensors that a file can hold.
    """
    return {name: _array(name, values) for name, values in net.state_dict().items()}


def _array(name: str, values: object) -> np.ndarray:
    if not isinstance(values, Tensor):
        raise ConvscopeError(f"the network's state {name} is a {type(values).__name__}, no tensor: it cannot be kept")
    try:
        return values.detach().cpu().numpy().copy(order="C")  # a copy: training goes on in the tensor itself
    except TypeError as error:
        raise ConvscopeError(f"{name} is {values.dtype}, which cannot be kept: train in float32 (.float())") from error


def checkpoint_facts(folder: Path) -> Facts | None:
    """What the checkpoint says of itself; None where there is none.

    Raises:
        ConvscopeError: it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        return read_about(path, _CHECKPOINT)
    except DamagedError as error:
        raise ConvscopeError(f"{path} is damaged: {error}; --overwrite begins anew") from error


def finished_facts(folder: Path) -> Facts:
    """What the checkpoint of a training says; ``history`` and ``confusion`` (rows are classes, columns answers).

    Raises:
        ConvscopeError: there is none, or it is damaged.
    """
    facts = checkpoint_facts(folder)
    if facts is None:
        raise ConvscopeError(f"{folder} has no {CHECKPOINT}: its training was not begun here")
    return facts


def load_checkpoint(folder: Path, net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put a checkpoint's weights and state back, and write ``weights.safetensors`` where a kill has prevented it.

    Raises:
        ConvscopeError: it is of another network.
    """
    facts, tensors = finished_facts(folder), read_tensors(folder / CHECKPOINT)
    weights = {name.removeprefix(_OF_NET): values for name, values in tensors.items() if name.startswith(_OF_NET)}
    load_arrays(net, weights, folder / CHECKPOINT)
    states: dict[int, dict[str, Tensor]] = {}
    for name, values in tensors.items():
        if name.startswith(_OF_OPTIMISER):
            number, own = name.removeprefix(_OF_OPTIMISER).split("/", 1)
            states.setdefault(int(number), {})[own] = torch.from_numpy(values.copy())
    optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
    if _epoch_of_weights(folder) != facts["epoch"]:
        write_checked(folder / WEIGHTS, _WEIGHTS, {"epoch": facts["epoch"]}, weights)


def load_arrays(net: nn.Module, weights: Mapping[str, np.ndarray], file: object) -> None:
    """All parameters and buffers, to the bit. Raises ConvscopeError where they are of another network."""
    try:
        net.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.items()})
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ConvscopeError(f"{file} is of another network than {type(net).__name__}: {first}") from error


def _epoch_of_weights(folder: Path) -> int | None:
    try:
        return read_about(folder / WEIGHTS, _WEIGHTS)["epoch"]
    except (DamagedError, KeyError):
        return None
