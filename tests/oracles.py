"""Slow paper replicas in float64: no autograd, no hooks, nothing of convscope. Torch's forward operators and loops.

Backward rules are walked by hand through an ``nn.Sequential``: forward once, keep the input of every layer, then
go back layer by layer with the adjoint of each linear operator (transposed convolution, switches of the pooling
that add where windows overlap, transposed matrix) and one of four rules at a ReLU with input x and signal R:

    gradient   R * 1[x > 0]               Simonyan et al. 2013
    guided     R * 1[x > 0] * 1[R > 0]    Springenberg et al. 2014
    deconv     R * 1[R > 0]               Zeiler & Fergus 2014
    none       R                          the bare transposed filters, for adjoint tests

b batch, c channel, h w map, y x pixel.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradient": lambda x, r: r * (x > 0),
    "guided": lambda x, r: r * (x > 0) * (r > 0),
    "deconv": lambda x, r: r * (r > 0),
    "none": lambda x, r: r,
}


# ---- walking back through an nn.Sequential ----


def forward_by_hand(net: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The input of the first layer, then the output of every layer."""
    kept = [x.detach().clone()]
    with torch.no_grad():
        for layer in net:
            kept.append(layer(kept[-1].clone()))  # clone: a ReLU in place must not spoil the record
    return kept


def backward_by_hand(net: nn.Sequential, x: Tensor, seed: Tensor, *, rule: str, layer: str | None = None) -> Tensor:
    """The signal that arrives at x when ``seed`` starts at the output of ``layer`` (None: the last)."""
    names = [name for name, _ in net.named_children()]
    last = len(names) - 1 if layer is None else names.index(layer)
    kept = forward_by_hand(net, x)
    signal = seed
    for number in range(last, -1, -1):
        signal = _through(net[number], kept[number], kept[number + 1], signal, RULES[rule])
    return signal


def _through(layer: nn.Module, x: Tensor, out: Tensor, signal: Tensor, rule) -> Tensor:
    """One layer backwards: ``x`` and ``out`` are its input and output of the forward pass."""
    with torch.no_grad():
        match layer:
            case nn.ReLU():
                return rule(x, signal)
            case nn.Conv2d():
                return transposed_convolution(layer, signal, x.shape)
            case nn.MaxPool2d():
                return unpool_adding(layer, x, signal)
            case nn.AvgPool2d() | nn.AdaptiveAvgPool2d():
                return _spread(layer, x, out, signal)
            case nn.BatchNorm2d():
                scale = layer.weight / (layer.running_var + layer.eps).sqrt()
                return signal * scale[None, :, None, None]
            case nn.Linear():
                return signal @ layer.weight
            case nn.Flatten():
                return signal.reshape(x.shape)
            case nn.Identity() | nn.Dropout() | nn.Dropout2d():
                return signal
    raise NotImplementedError(type(layer).__name__)


def transposed_convolution(conv: nn.Conv2d, signal: Tensor, shape: torch.Size) -> Tensor:
    """The adjoint of ``conv`` without its bias, back to an input of ``shape`` (b, c, h, w).

    A strided convolution leaves up to stride - 1 rows unseen at the far edge; output_padding restores them.
    """
    missing = []
    for axis in (0, 1):
        reached = (signal.shape[2 + axis] - 1) * conv.stride[axis] - 2 * conv.padding[axis]
        reached += conv.dilation[axis] * (conv.kernel_size[axis] - 1) + 1
        missing.append(shape[2 + axis] - reached)
    return F.conv_transpose2d(
        signal, conv.weight, None, conv.stride, conv.padding, tuple(missing), conv.groups, conv.dilation
    )


def unpool_adding(pool: nn.MaxPool2d, x: Tensor, signal: Tensor) -> Tensor:
    """Every window's signal to the pixel that won it (the first of equals); a pixel that won several gets their sum."""
    if _pair(pool.dilation) != (1, 1):
        raise NotImplementedError("dilated pooling")
    size, stride, padding = _pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding)
    back = torch.zeros_like(x)
    for i in range(signal.shape[2]):
        for j in range(signal.shape[3]):
            top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
            place = (..., slice(max(top, 0), top + size[0]), slice(max(left, 0), left + size[1]))
            window = x[place].flatten(2)
            largest = window == window.amax(2, keepdim=True)
            switch = largest & (largest.cumsum(2) == 1)
            back[place] += (switch * signal[:, :, i, j, None]).view_as(x[place])
    return back


def _spread(pool: nn.AvgPool2d | nn.AdaptiveAvgPool2d, x: Tensor, out: Tensor, signal: Tensor) -> Tensor:
    """Every cell's signal, divided evenly over the pixels of its window."""
    back = torch.zeros_like(x)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            rows, columns = _window(pool, x.shape[2], out.shape[2], i, 0), _window(pool, x.shape[3], out.shape[3], j, 1)
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            back[:, :, rows, columns] += signal[:, :, i : i + 1, j : j + 1] / area
    return back


def _window(pool: nn.AvgPool2d | nn.AdaptiveAvgPool2d, length: int, cells: int, cell: int, axis: int) -> slice:
    if isinstance(pool, nn.AdaptiveAvgPool2d):
        return slice(cell * length // cells, math.ceil((cell + 1) * length / cells))
    if _pair(pool.padding) != (0, 0) or pool.ceil_mode:
        raise NotImplementedError("padded average pooling")
    start = cell * _pair(pool.stride)[axis]
    return slice(start, start + _pair(pool.kernel_size)[axis])


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


# ---- the methods ----


def one_hot(logits: Tensor, target: int) -> Tensor:
    """A class target starts with 1 on its logit."""
    seed = torch.zeros_like(logits)
    seed[:, target] = 1.0
    return seed


def gradient(net: nn.Sequential, x: Tensor, target: int) -> Tensor:
    return backward_by_hand(net, x, one_hot(forward_by_hand(net, x)[-1], target), rule="gradient")


def guided_backprop(net: nn.Sequential, x: Tensor, target: int) -> Tensor:
    return backward_by_hand(net, x, one_hot(forward_by_hand(net, x)[-1], target), rule="guided")


def deconvnet(
    net: nn.Sequential,
    x: Tensor,
    *,
    target: int | None = None,
    layer: str | None = None,
    unit: int | None = None,
    position: tuple[int, int] | None = None,
) -> Tensor:
    """Zeiler & Fergus 2014 from a class (``target``) or from a layer: its whole map, one unit, one position."""
    if target is not None:
        return backward_by_hand(net, x, one_hot(forward_by_hand(net, x)[-1], target), rule="deconv")
    names = [name for name, _ in net.named_children()]
    seed = kept_activations(forward_by_hand(net, x)[names.index(layer) + 1], unit, position)
    return backward_by_hand(net, x, seed, rule="deconv", layer=layer)


def kept_activations(acts: Tensor, unit: int | None, position: tuple[int, int] | None) -> Tensor:
    """relu(A) where it is kept, 0 elsewhere: one unit (None: all), one position (None: all)."""
    seed = torch.zeros_like(acts)
    for c in range(acts.shape[1]) if unit is None else (unit,):
        if position is None:
            seed[:, c] = acts[:, c].clamp(min=0)
        else:
            seed[(slice(None), c, *position)] = acts[(slice(None), c, *position)].clamp(min=0)
    return seed


def gradient_at(net: nn.Sequential, x: Tensor, target: int, layer: str) -> tuple[Tensor, Tensor]:
    """A and g = dS/dA at the output of ``layer``, by hand."""
    number = [name for name, _ in net.named_children()].index(layer) + 1
    acts, head = forward_by_hand(net, x)[number], net[number:]
    return acts, gradient(head, acts, target)


def grad_cam(acts: Tensor, grads: Tensor, *, relu: bool = True) -> Tensor:
    """Selvaraju et al. 2017, eqs. 1 and 2: alpha_k = mean over the map of g_k; ReLU(sum_k alpha_k A_k)."""
    b, c, h, w = acts.shape
    heat = torch.zeros(b, h, w, dtype=acts.dtype)
    for n in range(b):
        for k in range(c):
            heat[n] += grads[n, k].sum() / (h * w) * acts[n, k]
    return heat.clamp(min=0) if relu else heat


def cam(acts: Tensor, weights: Tensor) -> Tensor:
    """Zhou et al. 2016, eq. 2: M(y, x) = sum_k w_k A_k(y, x), with ``weights`` (c,) of one class."""
    heat = torch.zeros(acts.shape[0], *acts.shape[2:], dtype=acts.dtype)
    for k in range(acts.shape[1]):
        heat += weights[k] * acts[:, k]
    return heat


def central_differences(score: Callable[[Tensor], Tensor], x: Tensor, *, step: float = 1e-5) -> Tensor:
    """dS/dx of ``score``: (b, ...) -> (b,), one element after the other; each image's score its own."""
    slopes = torch.zeros_like(x)
    with torch.no_grad():
        for place in range(x[0].numel()):
            nudge = torch.zeros_like(x).flatten(1)
            nudge[:, place] = step
            nudge = nudge.view_as(x)
            slopes.flatten(1)[:, place] = (score(x + nudge) - score(x - nudge)) / (2 * step)
    return slopes


# ---- occlusion ----


def window_starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows start on an axis: the last is the first that reaches the edge (it is cut there)."""
    starts = [0]
    while starts[-1] + size < length:
        starts.append(starts[-1] + stride)
    return starts


def occlusion(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    score: Callable[[Tensor], Tensor],
    size: int | tuple[int, int],
    stride: int | tuple[int, int],
    fill: float | Tensor = 0.0,
    reading: str = "pixels",
) -> Tensor:
    """Zeiler & Fergus 2014, brute force: one forward pass a square, one image at a time.

    ``logits``: (1, c, H, W) -> (1, classes); ``score``: its output -> (1,). ``fill`` is a number or anything that
    broadcasts to (c, H, W). Readings: ``drop``, ``score``, ``class`` have one cell a position (b, rows, columns);
    ``pixels`` is (b, H, W): at each pixel the mean drop of the squares that cover it.
    """
    height, width = x.shape[2:]
    rows = window_starts(height, _pair(size)[0], _pair(stride)[0])
    columns = window_starts(width, _pair(size)[1], _pair(stride)[1])
    cells = torch.zeros(len(x), len(rows), len(columns), dtype=x.dtype)
    total, count = (torch.zeros(len(x), height, width, dtype=x.dtype) for _ in range(2))
    colour = torch.as_tensor(fill, dtype=x.dtype).expand(x.shape[1:])
    with torch.no_grad():
        for b in range(len(x)):
            plain = score(logits(x[b : b + 1])).item()
            for i, top in enumerate(rows):
                for j, left in enumerate(columns):
                    covered = (slice(top, top + _pair(size)[0]), slice(left, left + _pair(size)[1]))
                    picture = x[b].clone()
                    picture[:, *covered] = colour[:, *covered]
                    answer = logits(picture[None])
                    drop = plain - score(answer).item()
                    values = {"score": score(answer).item(), "class": answer.argmax(1).item()}
                    cells[b, i, j] = values.get(reading, drop)
                    total[b, *covered] += drop
                    count[b, *covered] += 1
    return total / count if reading == "pixels" else cells
