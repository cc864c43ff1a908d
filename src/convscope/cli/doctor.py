"""``convscope doctor``: what is installed, which device there is, and whether a model can be explained."""

import importlib.metadata
import json
import platform
import sys
from typing import TYPE_CHECKING

from convscope.cli import options as opt
from convscope.cli.running import SKIPPED, command
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.network.diagnosis import Finding

_PACKAGES = ("convscope", "torch", "torchvision", "numpy", "Pillow", "safetensors", "matplotlib", "scikit-image")
_PIPE_WIDTH = 400  # one line a finding
_MARKS = {"good": ("ok", "green"), "note": ("note", "cyan"), "bad": ("no", "red")}


@command("doctor")
def doctor(
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    as_json: opt.Json = False,
) -> int:
    """Say what is installed, which device is used, and whether a model can be explained, in plain words.

    The exit code is 1 where something was found that some methods refuse.
    """
    from convscope.network.diagnosis import Finding, diagnose
    from convscope.network.listing import example_input

    installed = {name: _version(name) for name in _PACKAGES}
    devices = _devices()
    try:
        net = opt.network(model, opt.or_random(model, weights), classes, size, mean, std, trust_pickle, device)
    except ConvscopeError as error:
        if model is not None:
            raise
        name, findings = "bundled:tiny50", [Finding("bad", str(error))]
    else:
        name, findings = net.name, diagnose(net.module, example_input(net))
    if as_json:
        found = [{"level": f.level, "text": f.text} for f in findings]
        print(json.dumps({"installed": installed, "devices": devices, "model": name, "findings": found}, indent=1))
    else:
        _print(installed, devices, name, findings)
    return SKIPPED if any(f.level == "bad" for f in findings) else 0


def _print(installed: dict[str, str], devices: list[str], name: str, findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(", ".join(f"{package} {version}" for package, version in installed.items()))
    print(f"devices: {', '.join(devices)} (the first is used unless --device says otherwise)\n")
    print(name)
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        table.add_row(Text(mark, colour), Text(finding.text))
    console.print(table)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    import torch

    found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    # as load() chooses: CUDA, else the processor; mps only when asked for
    cpu = f"cpu ({torch.get_num_threads()} threads)"
    return [*found, cpu, *(["mps"] if torch.backends.mps.is_available() else [])]
