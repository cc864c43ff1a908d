"""A new head on a frozen network: its layers up to one of them, and a small head that is trained on what that gives.

With phi(x) the output of the layer, (c, h, w), the scores of the new classes are

    mean    W mean_yx(phi(x)) + b                       one number a map (Lin et al. 2014): CAM is exact
    flat    W vec(P(phi(x))) + b                        P the mean over 6 x 6 windows, as AlexNet's: the place counts
    mlp     W2 drop(max(0, W1 vec(P(phi(x))) + b1)) + b2   one hidden layer between

Only the head has weights that learn. The base runs in evaluation mode whatever the head does (its batch norms keep
their statistics), and takes gradients with respect to the image, so that every method explains the whole.

What the head is given is the layer's own output: the pass leaves the base at that layer (``tap`` with ``stop``), before
an in-place ReLU can write into it, and before a shortcut is added. The base here is a copy without the modules that
never run (AlexNet's three dense layers are 94 % of its weights), which is proved: the copy's output is bit-equal to the
base's, or the copy is whole. The base that was given stays as it was.

Yosinski et al. 2014 (How transferable are features in deep neural networks?) measure which layer to take: early ones
are general, late ones fit the classes that the base was trained on.

Pitfall: features have the scale of the base. SqueezeNet's last maps have 512 means of 14, the bundled network's 128 of
0.04, and no one first weights and learning rate suit both; ``scale_to`` makes them alike.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest
from convscope.network.evaluation import evaluation
from convscope.network.layers import find_call, numbered, trace_layers
from convscope.network.taps import tap
from convscope.network.token_grids import as_maps
from convscope.network.token_layers import image_size

CELLS = 6  # a side: what AlexNet's classifier looks at, Krizhevsky et al. 2012
HIDDEN = 256
_DROPPED = 0.5  # Srivastava et al. 2014

RATE_FACTOR = "rate_factor"  # on a parameter: its step is that many times the others'

Shape = tuple[int, int, int]


def _mean(maps: Shape, classes: int) -> nn.Sequential:
    parts = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(maps[0], classes)}
    return nn.Sequential(OrderedDict(parts))


def _flat(maps: Shape, classes: int) -> nn.Sequential:
    pool, numbers = _cells(maps)
    parts = {"pool": pool, "flatten": nn.Flatten(), "linear": nn.Linear(numbers, classes)}
    return nn.Sequential(OrderedDict(parts))


def _mlp(maps: Shape, classes: int) -> nn.Sequential:
    pool, numbers = _cells(maps)
    parts = {"pool": pool, "flatten": nn.Flatten(), "hidden": nn.Linear(numbers, HIDDEN), "relu": nn.ReLU()}
    last = {"dropout": nn.Dropout(_DROPPED), "linear": nn.Linear(HIDDEN, classes)}
    return nn.Sequential(OrderedDict(parts | last))


def _cells(maps: Shape) -> tuple[nn.Module, int]:
    """The pooling of ``flat``, and how many numbers it leaves; small maps keep their cells."""
    h, w = min(CELLS, maps[1]), min(CELLS, maps[2])
    return nn.AdaptiveAvgPool2d((h, w)), maps[0] * h * w


HEADS: Mapping[str, Callable[[Shape, int], nn.Sequential]] = MappingProxyType(
    {"mean": _mean, "flat": _flat, "mlp": _mlp}
)


def head_of(kind: str, maps: Shape, classes: int, seed: int = 0) -> nn.Sequential:
    """An untrained head for a layer's ``maps`` (c, h, w), one image's; its ``pool`` comes first and has no weights.

    Raises:
        ConvscopeError: no such head, or fewer than two classes.
    """
    if kind not in HEADS:
        raise ConvscopeError(f"no head {kind!r}{nearest(kind, HEADS)}; there are {', '.join(HEADS)}")
    if classes < 2:
        raise ConvscopeError(f"a head tells classes apart: two at least, not {classes}")
    with torch.random.fork_rng(devices=[]):  # first weights come from the global state, which goes on as if unused
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed: that is CUDA's too
        return HEADS[kind](maps, classes)


class HeadedNet(nn.Module):
    """``base`` up to ``layer``, frozen, and ``head`` on what that gives.

    Input as the base's; output ``(b, classes)`` logits. Layers are named ``base.features.10`` and ``head.linear``.
    ``left_out`` are the base's modules that never run and were replaced by identities. ``base`` is taken as it is:
    ``put_head`` makes a copy first.
    """

    def __init__(self, base: nn.Module, layer: str, head: nn.Module, left_out: Sequence[str] = ()) -> None:
        super().__init__()
        self.base, self.head = base.requires_grad_(False), head
        self.layer, self.left_out = layer, tuple(left_out)
        self.train(False)

    def forward(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b classes"]:
        """The new classes' logits."""
        return self.head(self.features(x))

    def features(self, x: Float[Tensor, "b c H W"]) -> Float[Tensor, "b u h w"]:
        """What the layer gives, as maps; one cell each where it gives ``(b, u)``."""
        return layer_features(self.base, x, self.layer)

    def train(self, mode: bool = True) -> "HeadedNet":
        """The head only: the base stays in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self

    def scale_to(self, scale: float) -> None:
        """Begin and learn as if the features were divided by ``scale``, without dividing them; before training.

        With phi = s phi', W' phi' = (W'/s) phi: the head's first weights are divided by s, and so is the step of an
        optimiser that does not see the gradient's size; ``rate_factor`` on them tells it to (``training.recipe``).
        """
        first = next(p for name, p in self.head.named_parameters() if name.endswith("weight"))
        with torch.no_grad():
            first.div_(scale * getattr(first, RATE_FACTOR, 1.0))
        setattr(first, RATE_FACTOR, 1 / scale)

    def on_features(self) -> "HeadOnFeatures":
        """The same network for who has the features already; it shares all tensors with this one."""
        return HeadOnFeatures(self)


class HeadOnFeatures(nn.Module):
    """A headed network that is given features instead of images: what is trained, with the whole network's tensors."""

    def __init__(self, net: HeadedNet) -> None:
        super().__init__()
        self.base, self.head = net.base, net.head

    def forward(self, features: Float[Tensor, "b u h w"]) -> Float[Tensor, "b classes"]:
        """The logits; features that the head's ``pool`` was applied to already are left as they are by it."""
        return self.head(features)

    def train(self, mode: bool = True) -> "HeadOnFeatures":
        """The head only."""
        super().train(mode)
        self.base.eval()
        return self


def layer_features(model: nn.Module, x: Float[Tensor, "b c H W"], layer: str) -> Float[Tensor, "b u h w"]:
    """What one layer gives for network input, as maps; the pass ends there, and its graph is kept.

    Raises:
        ConvscopeError: no such layer, one that never ran, or one whose output holds no maps.
    """
    with tap(model, layer, stop=True) as seen:
        model(x)
    found = seen[layer]
    if found.ndim == 2:
        return found[:, :, None, None]
    return as_maps(found, image_size(x), layer, batch=len(x))


def put_head(
    base: nn.Module, layer: str, kind: str, classes: int, x: Float[Tensor, "b c H W"], *, seed: int = 0
) -> HeadedNet:
    """A new head on a copy of ``base``, which stays as it was.

    Args:
        base: any network.
        layer: its layer, any name of ``convscope layers``.
        kind: of ``HEADS``.
        classes: how many the head tells apart.
        x: an input of the size that will be used; its values do not matter, but should differ.
        seed: of the head's first weights.

    Raises:
        ConvscopeError: no such layer or head, a layer that ran more than once (its calls have numbers) or that gives
            no maps, a base that cannot be copied.
    """
    _refuse_unclear(base, layer, x)
    with evaluation(base), torch.no_grad():
        expected = layer_features(base, x.clone(), layer)
        idle = _idle(base, layer, x)
    _, c, h, w = expected.shape
    head = head_of(kind, (c, h, w), classes, seed).to(expected)
    for left_out in (idle, ()) if idle else ((),):
        net = HeadedNet(without(base, left_out), layer, head, left_out)
        if _gives(net, x, expected):
            return net
    raise ConvscopeError(f"a copy of {type(base).__name__} gives other features at {layer!r}; it cannot be frozen")


def _refuse_unclear(base: nn.Module, layer: str, x: Tensor) -> None:
    """With ``stop``, a plain name is the first call of its module: here that must be the only one."""
    find_call(base, layer)
    names: list[str] = []
    try:
        trace_layers(base, x, lambda item: names.append(item.name))
    except Exception:  # above the layer, where nothing will ever run: its own classes may want another input size
        if not any(_path(name) == _path(layer) for name in names):
            raise
    calls = [name for name in numbered(names) if _path(name) == _path(layer)]
    if layer not in calls and len(calls) > 1:
        raise ConvscopeError(f"layer {layer!r} is no one call of a pass; there are {', '.join(calls)}")


def _path(name: str) -> str:
    return name.split("#")[0]


def _idle(base: nn.Module, layer: str, x: Tensor) -> tuple[str, ...]:
    """The outermost modules with weights of which nothing has begun to run when the layer has.

    Parts of a module that ran to its end are none: it may use their weights without calling them, as attention does.
    """
    began, ended = set[nn.Module](), set[nn.Module]()

    def begins(module: nn.Module, *_: object) -> None:
        began.add(module)

    def ends(module: nn.Module, *_: object) -> None:
        ended.add(module)

    with ExitStack() as undo:
        for module in base.modules():
            undo.callback(module.register_forward_pre_hook(begins).remove)
            undo.callback(module.register_forward_hook(ends).remove)
        layer_features(base, x.clone(), layer)
    found: list[str] = []
    kept = {find_call(base, layer).module, *ended}
    for path, module in base.named_modules():
        above = [base.get_submodule(".".join(path.split(".")[:n])) for n in range(path.count(".") + 1)]
        runs = any(part in began for part in module.modules())
        outer = any(path.startswith(f"{each}.") for each in found)
        if not runs and not outer and not kept & set(above) and any(True for _ in module.parameters()):
            found.append(path)
    return tuple(found)


def without(base: nn.Module, left_out: Sequence[str]) -> nn.Module:
    """A copy of ``base`` with identities in the place of some modules, which are not copied; in evaluation mode.

    Raises:
        ConvscopeError: a module that is not there, or a base that Python cannot copy.
    """
    modules = dict(base.named_modules())
    if missing := [path for path in left_out if path not in modules]:
        raise ConvscopeError(f"no module {missing[0]!r} in {type(base).__name__}{nearest(missing[0], modules)}")
    replaced: dict[int, nn.Module] = {id(modules[path]): nn.Identity() for path in left_out}
    try:
        made = copy.deepcopy(base, replaced)
    except Exception as error:  # a module may hold anything
        raise ConvscopeError(f"{type(base).__name__} cannot be copied: {error}") from error
    for parameter in made.parameters():
        parameter.grad = None
    return made.eval()


def _gives(net: HeadedNet, x: Tensor, expected: Tensor) -> bool:
    """Whether the copy's features are the base's to the last bit: a base may use a module's weights without a call."""
    try:
        with torch.no_grad():
            found = net.features(x.clone())
    except Exception:
        if net.left_out:
            return False
        raise
    return torch.equal(found.nan_to_num(), expected.nan_to_num())
