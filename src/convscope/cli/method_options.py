"""``--option NAME=VALUE`` and its short forms ``--score``, ``--fill``, ``--partial``: the methods' own options.

Names, defaults and kinds come from the table of methods, so that an option which a method gains can be given here.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convscope.errors import ConvscopeError, nearest

if TYPE_CHECKING:
    from convscope.network.loading import Network

_OTHERWISE = {  # what these are called on the command line; the last four belong to Python alone
    "target": "--target", "layer": "--layer", "batch": "--batch", "generator": "--seed", "wrt": "", "on_step": "",
    "engine": "", "fill": "--fill",
}  # fmt: skip


def options_of(given: Sequence[str] | None, **named: Any) -> dict[str, Any]:
    """The options of a run: those of ``--option``, and those that have a name of their own and were given.

    Raises:
        ConvscopeError: text that is not NAME=VALUE, an option that no method has, a value of another kind.
    """
    chosen = {name: value for name, value in named.items() if value is not None and value is not False}
    for text in given or []:
        name, is_pair, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not is_pair:
            raise ConvscopeError(f"--option {text!r}: give NAME=VALUE, such as steps=200")
        if name in chosen:
            raise ConvscopeError(f"option {name} was given twice")
        chosen[name] = _value_of(name, value.strip())
    if chosen.get("score", "logit") not in ("logit", "probability"):
        raise ConvscopeError(f"--score {chosen['score']!r} is neither logit nor probability")
    return chosen


def method_options() -> dict[str, list[Any]]:
    """Option -> the defaults that the methods which have it give it; without those that have a name of their own."""
    from convscope.attribution.registry import METHODS

    found: dict[str, list[Any]] = {}
    for method in METHODS.values():
        for name, default in method.defaults.items():
            if name not in _OTHERWISE:
                found.setdefault(name, []).append(default)
    return found


def _value_of(name: str, text: str) -> Any:
    """The text as what the option takes, by its defaults; where these say nothing, as what it looks like."""
    known = method_options()
    if name not in known:
        instead = _OTHERWISE.get(name)
        hint = f"; it is {instead} here" if instead else nearest(name, known)
        raise ConvscopeError(f"no method has an option {name!r}{hint} (all: {', '.join(known)})")
    value = _read(text)
    kinds = {type(default) for default in known[name] if default is not None}
    if isinstance(value, tuple) and kinds and {type(part) for part in value} <= kinds:
        return value  # one an axis: the method says whether it takes that
    if float in kinds and type(value) is int:
        value = float(value)
    if kinds and type(value) not in kinds and None not in known[name]:
        raise ConvscopeError(f"option {name}={text}: it takes {_kind(kinds)}, such as {known[name][0]}")
    return value


def _kind(kinds: set[type]) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return " or ".join(words.get(kind, kind.__name__) for kind in words if kind in kinds) or "another kind of value"


def _read(text: str) -> Any:
    """``"true"`` -> True, ``"7"`` -> 7, ``"0.5"`` -> 0.5, ``"3,4"`` -> (3, 4), else the text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "," in text:
        return tuple(_read(part.strip()) for part in text.split(","))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def in_words(options: Mapping[str, Any]) -> tuple[str, ...]:
    """``("noise=0.05", "score=probability")``: what changes a map, for the name of its file."""
    changing = [(name, value) for name, value in options.items() if name not in ("batch", "on_step")]
    return tuple(name if value is True else f"{name}={value}" for name, value in changing)


def for_networks(nets: "list[Network]", options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a colour to fill with as these networks' own input."""
    chosen = dict(options)
    if "fill" in chosen:
        fills = {_fill(net, str(chosen["fill"])) for net in nets}
        if len(fills) > 1:
            raise ConvscopeError(f"--fill {chosen['fill']} is not the same input for these networks; take mean or blur")
        chosen["fill"] = fills.pop()
    return chosen


def _fill(net: "Network", text: str) -> Any:
    """A colour as the network's own preprocessing makes it, or the name of a filling that the occlusion knows."""
    if text in ("mean", "blur", "noise"):
        return text
    from PIL import Image

    try:
        photo = Image.new("RGB", (512, 512), text)
    except ValueError:
        raise ConvscopeError(f"--fill {text!r} is no colour, and none of mean, blur, noise") from None
    x = net.input_of(photo)[0]
    return tuple(x[:, x.shape[1] // 2, x.shape[2] // 2].tolist())
