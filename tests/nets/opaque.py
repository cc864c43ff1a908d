"""Models that hooks cannot see into: scripted, traced, compiled, spread over devices."""

import warnings

import torch
from torch import nn

from tests import nets
from tests.untouched import watch


def scripted() -> nn.Module:
    with warnings.catch_warnings():  # torch calls its own TorchScript deprecated
        warnings.simplefilter("ignore")
        net = nets.plain()
        found = torch.jit.script(net)
    watch(net)  # scripting leaves attributes in the net that it was given
    return found


def traced_part() -> nn.Module:
    """A Python module with a TorchScript one in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.trace(nets.linear_only(), nets.images()))


def compiled() -> nn.Module:
    net = nets.plain()
    found = torch.compile(net, backend="eager")
    watch(net)
    return found


def compiled_part() -> nn.Module:
    """What ``module.compile()`` leaves in a module, without starting the compiler."""
    net = nets.plain()
    net[0]._compiled_call_impl = net[0]._call_impl
    return watch(net)


def on_two_devices() -> nn.Module:
    model = nn.DataParallel(nets.plain())
    model.device_ids = [0, 1]
    return model
