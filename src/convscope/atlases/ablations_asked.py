"""What an ablation over data is asked for: sets of units, labels; checked on the first image that can be used."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from convscope.answers import refusing_input
from convscope.attribution.unit_values import layer_outputs, unit_axis
from convscope.dataset.ablation_sweep import Sets
from convscope.dataset.data_labels import DataLabels
from convscope.dataset.data_sums import Labelled
from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError, nearest
from convscope.network.loading import Network
from convscope.network.targets import Unit
from convscope.views.unit_names import layer_of, units_named

MODES = ("zero", "mean")
_TRIED = 24  # images from the first on, until it is not one of them that is at fault
Names = Sequence[str | Unit] | str | None


def check_request(units: Names, layer: Sequence[str] | str | None, *, mode: str = "zero") -> list[str | Unit]:
    """The units' names, those of whole layers as ``LAYER:all``.

    Raises:
        ConvscopeError: none, both, a name that is none, another mode.
    """
    if mode not in MODES:
        why = "; over a data set units are put to zero or to their mean over it" if mode == "resample" else ""
        raise ConvscopeError(f"no mode {mode!r}{nearest(mode, MODES)}; there are {', '.join(MODES)}{why}")
    named: list[str | Unit] = [units] if isinstance(units, str) else list(units or [])
    layers = [layer] if isinstance(layer, str) else list(layer or [])
    if bool(named) == bool(layers):
        raise ConvscopeError(
            "both units and a layer were given: name units (--unit LAYER:NUMBERS), or a layer, all units of which are "
            "meant (--layer)"
            if named
            else "which units? Give --unit LAYER:NUMBERS (units=), or --layer LAYER (layer=) for all of a layer"
        )
    for name in named:
        layer_of(name)
    return [*named, *(f"{name}:all" for name in layers)]


def first_input(net: Network, source: ImageSource) -> Tensor:
    """Network input ``(1, c, H, W)`` of the first image that can be used.

    Raises:
        ConvscopeError: none of the first ones can; why the very first cannot.
    """
    first: ConvscopeError | None = None
    for _, name in zip(range(_TRIED), source.names(), strict=False):
        try:
            x = net.input_of(source.read(name).image)
            with refusing_input(net, x):
                layer_outputs(net.module, x, [])
        except ConvscopeError as error:
            first = first or error
        else:
            return x
    raise first or ConvscopeError(f"no image in {source.name}")


def sets_of(net: Network, x: Tensor, names: Sequence[str | Unit], *, together: bool = False) -> Sets:
    """The units that ``names`` stand for, each a set of its own, or all in one.

    Raises:
        ConvscopeError: no such layer, unit or position; the network's output is no logits.
    """
    layers = list(dict.fromkeys(layer_of(name) for name in names))
    with refusing_input(net, x):
        outputs = layer_outputs(net.module, x, layers)
    size = (x.shape[-2], x.shape[-1])
    counts = {layer: output.shape[unit_axis(output, size, layer, batch=1)] for layer, output in outputs.items()}
    units = units_named(names, counts)
    for unit in units:
        _check_position(unit, outputs[unit.layer])
    return (units,) if together else tuple((unit,) for unit in units)


def _check_position(unit: Unit, output: Tensor) -> None:
    if unit.position is None:
        return
    y, x = unit.position
    size = tuple(output.shape[2:]) if output.ndim == 4 else ()
    if len(size) != 2 or not (y < size[0] and x < size[1]):
        raise ConvscopeError(
            f"position {y},{x} was asked for, but layer {unit.layer!r} has "
            + (f"a map of {size[0]} x {size[1]}" if size else "no map")
        )


def labelled(source: ImageSource, labels: DataLabels) -> Iterator[Labelled]:
    """Every image's id and data class, in order."""
    for name in source.names():
        yield name, labels.number(name)


def judged_by(labels: DataLabels) -> str:
    """``"labels"`` where every data class is one of the network; else ``"answers"``, the intact network's own."""
    return "labels" if labels.right and all(labels.right) else "answers"
