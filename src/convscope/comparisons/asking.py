"""What each explanation of a sheet is asked, and what is refused for the sheet as a whole.

A sheet of one method hands on target and layer, and a method that does not take them refuses them. On a sheet of
several methods each takes what it knows; the deconvnet shows the strongest unit there unless the target is a unit,
since from a class it is exactly zero on many networks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from convscope.answers import Seen
from convscope.attribution.registry import find_method
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.loading import Network
from convscope.network.passes import forward
from convscope.network.targets import Target, parse_unit, resolve_names

Step = Callable[[str], None]
Options = Mapping[str, Any]
NO_OPTIONS: Options = {}


def options_of(
    method: str, target: Target, layer: str | None, options: Options, *, mixed: bool = False
) -> dict[str, Any]:
    """What one method is given of a sheet's target, layer and options; ``mixed`` on a sheet of several methods."""
    about = find_method(method)
    known = {*about.defaults, *(["seed"] if "generator" in about.defaults else [])}
    chosen = {name: value for name, value in options.items() if name in known}
    if mixed and about.name == "deconvnet":
        is_unit = isinstance(target, str) and parse_unit(target) is not None
        target, layer = (target, None) if is_unit else (None, layer)
    elif mixed and not about.needs_layer:
        layer = None
    return {"target": target, "layer": layer, **chosen}


def check_target(seen: Seen, target: Target) -> None:
    """Refuse a class or unit that the network has not: else each method would be left out, for that same reason."""
    if target is not None:
        with evaluation(seen.net.module), torch.no_grad():
            forward(seen.net.module, seen.x, target=resolve_names(target, seen.net.classes))


def refuse_nothing(net: Network, found: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
    """Refuse a sheet on which there is no map at all, with the reasons."""
    if found:
        return
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason, []).append(name)
    if len(reasons) == 1:
        raise ConvscopeError(next(iter(reasons)))
    why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items()) or "none was given"
    raise ConvscopeError(f"no method applies to {net.name}: {why}")
