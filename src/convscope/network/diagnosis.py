"""Whether a network can be explained, and what stands in the way, in plain words.

Everything is tried on one input rather than guessed from names: the pass, its graph, the rectifiers in it, the
last map and the head above it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import inspect
from convscope.network.head import default_layer, linear_head
from convscope.network.layers import named_layers, recorded_outputs, refuse_opaque
from convscope.network.passes import forward

Level = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found: ``good``, ``note`` (works, but know it) or ``bad`` (something will be refused)."""

    level: Level
    text: str


def diagnose(model: nn.Module, x: Tensor) -> list[Finding]:
    """What ``convscope doctor`` says of a model, tried on ``x (1, c, h, w)``."""
    findings: list[Finding] = []
    for look in (_opaque_modules, _modes, _graph, _last_map, _head, _reused):
        try:
            findings += look(model, x)
        except ConvscopeError as error:
            findings.append(Finding("bad", str(error)))
        except Exception as error:  # a stranger's model may raise anything: that is what is being asked
            first = (str(error).splitlines() or [""])[0]
            findings.append(Finding("bad", f"the network raises {type(error).__name__} on {tuple(x.shape)}: {first}"))
            break
        if look is _opaque_modules and findings:
            break
    return list(dict.fromkeys(findings))


def _opaque_modules(model: nn.Module, _x: Tensor) -> Iterator[Finding]:
    refuse_opaque(model)
    yield from ()


def _modes(model: nn.Module, _x: Tensor) -> Iterator[Finding]:
    training = sum(m.training for m in model.modules())
    if training:
        yield Finding("note", f"{training} modules are in training mode; methods switch to evaluation and back")
    parameters = list(model.parameters())
    frozen = sum(not p.requires_grad for p in parameters)
    if frozen:
        yield Finding("note", f"{frozen} of {len(parameters)} parameter tensors are frozen; that changes no map")
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in parameters})
    if dtypes not in ([], ["float32"]):
        yield Finding("note", f"parameters are {', '.join(dtypes)}; maps are returned in float32 at least")


def _graph(model: nn.Module, x: Tensor) -> Iterator[Finding]:
    with evaluation(model):
        run = forward(model, x)
        rectifiers, plain, opaque = inspect(run.network_end, run.image)
    yield Finding("good", "gradients reach the input: gradient, saliency, input x gradient and occlusion apply")
    if opaque:
        names = ", ".join(f"{count} x {name}" for name, count in sorted(opaque.items()))
        yield Finding("bad", f"the graph hides what is inside {names}: guided backprop and deconvnet are refused")
    elif plain:
        names = ", ".join(f"{count} x {name}" for name, count in sorted(plain.items()))
        what = f"besides {len(rectifiers)} rectifiers" if rectifiers else "and no rectifier"
        fix = "need --partial" if rectifiers else "are refused, they would be the plain gradient"
        yield Finding(
            "bad", f"activations that are no rectifiers, {names}, {what}: guided backprop and deconvnet {fix}"
        )
    else:
        yield Finding(
            "good", f"{len(rectifiers)} rectifiers and no other activation: guided backprop and deconvnet apply"
        )
    yield from _rectifier_notes(model, len(rectifiers))


def _rectifier_notes(model: nn.Module, in_graph: int) -> Iterator[Finding]:
    modules = [m for m in model.modules() if isinstance(m, nn.ReLU | nn.ReLU6 | nn.Threshold)]
    if in_graph > len(modules):
        more = in_graph - len(modules)
        yield Finding("note", f"{more} rectifiers are functions or reused modules; tools that hook modules miss them")
    if any(getattr(m, "inplace", False) for m in modules):
        yield Finding("note", "some ReLUs work in place; records are kept apart from them")


def _last_map(model: nn.Module, x: Tensor) -> Iterator[Finding]:
    yield Finding("good", f"the last map before the head is {default_layer(model, x)!r}: Grad-CAM's default layer")


def _head(model: nn.Module, x: Tensor) -> Iterator[Finding]:
    layer = default_layer(model, x)
    try:
        linear_head(model, x, layer)
    except ConvscopeError:
        yield Finding(
            "note", "the head is not one linear layer after a global average: CAM is refused, Grad-CAM applies"
        )
    else:
        yield Finding("good", "the head is linear after a global average: CAM applies")


def _reused(model: nn.Module, x: Tensor) -> Iterator[Finding]:
    calls = [item.name for item in recorded_outputs(model, x)]
    reused = sorted({name.split("#")[0] for name in calls if "#" in name})
    if reused:
        yield Finding("note", f"{len(reused)} layers run several times a pass; name one call, such as '{reused[0]}#2'")
    silent = [n for n in named_layers(model) if n not in {c.split("#")[0] for c in calls}]
    leaves = [n for n in silent if not list(named_layers(model)[n].children())]
    if leaves:
        yield Finding("note", f"{len(leaves)} layers did not run or return no tensor, such as {leaves[0]!r}")
