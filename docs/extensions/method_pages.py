"""The parts of a method's page that the program knows: ``{method-claim}``, ``{method-options}``, ... of one method.

All is read off ``convscope.attribution.METHODS``, the functions' own documentation, and what ``make_pictures.py`` noted
beside the pictures. Nothing here has to be touched when a method is added.
"""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import written
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from convscope import attribution
from convscope.attribution import METHODS, Method

PICTURES = Path(__file__).parents[1] / "pictures" / "methods"
SHAPES = {"pixels": "(b, c, H, W)", "pixel map": "(b, H, W)", "layer map": "(b, h, w)"}
OUTPUTS = {
    "pixels": "a value for every channel of every pixel",
    "pixel map": "a value for every pixel",
    "layer map": "a value for every cell of the layer's map",
}
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_ELSEWHERE = re.compile(r"(?:see|as for) ``(\w+)``")
_SAME_AS = re.compile(r"[Aa]rguments as ((?:``\w+``(?:, | and )?)+)")


def table() -> str:
    """Every method in a row: what it shows, what it gives, whether it works at a layer, what it costs."""
    noted = pictures()
    lines = ["{.methods}", "| method | what it shows | gives | layer | images |", "| --- | --- | --- | --- | ---: |"]
    for name, method in METHODS.items():
        passes = f"{noted[name]['passes']:,}" if name in noted else ""
        layer = "yes" if method.needs_layer else ""
        shape = SHAPES[method.output].replace(" ", "\N{NO-BREAK SPACE}")
        cells = [f"[{name}]({name}.md)", method.claim, f"`{shape}`", layer, passes]
        lines.append(f"| {' | '.join(map(written.in_a_cell, cells))} |")
    return "\n".join(lines)


def claim(method: Method) -> str:
    """What the picture says."""
    return method.claim


def limits(method: Method) -> str:
    """When not to believe it; and what an empty map means."""
    return f"{method.limits}\n\nA map that is zero everywhere says: {method.zero}."


def facts(method: Method) -> str:
    """How it is called and what it gives."""
    signed = "signed: negative values mean something" if method.signed else "never negative"
    layer = "at a layer; by default the last map before the head" if method.needs_layer else "the whole network"
    rows = {
        "command line": f"`--method {method.name}`",
        "Python": f"{{py:func}}`~convscope.attribution.{method.function.__name__}`",
        "gives": f"`{SHAPES[method.output]}`: {OUTPUTS[method.output]}, {signed}",
        "looks at": layer,
        "source": method.source,
    }
    if method.slow:
        rows["speed"] = "hundreds of passes: a sheet has it only when it is named, or with `--method all`"
    return "{.symbols}\n" + "\n\n".join(f"{label}\n: {text}" for label, text in rows.items())


def options(method: Method) -> str:
    """Every option with its default and its meaning."""
    told = option_meanings(method.function)
    entries = [f"`{name} = {shown(value)}`\n: {linked(told.get(name, ''))}" for name, value in method.defaults.items()]
    return "\n\n".join(entries)


def linked(text: str) -> str:
    """Functions of this package as links."""

    def link(code: re.Match[str]) -> str:
        return f"{{py:func}}`~convscope.attribution.{code[1]}`" if code[1] in attribution.__all__ else code[0]

    return re.sub(r"``(\w+)``", link, text)


def shown(default: Any) -> str:
    """As it would be written; a function by its name."""
    return default.__name__ if callable(default) else repr(default)


def option_meanings(function: Callable[..., Any]) -> dict[str, str]:
    """Option -> meaning, from a docstring's ``Args:``, with what it only points to in its place."""
    text = inspect.getdoc(function) or ""
    told: dict[str, str] = {}
    for same in _SAME_AS.findall(" ".join(text.split())):
        for name in re.findall(r"``(\w+)``", same):
            told |= option_meanings(getattr(attribution, name))
    args = text.partition("Args:\n")[2].partition("\n\n")[0]
    pointer = ""
    for name, written_there in _ARGUMENT.findall(args):
        meaning = re.sub(r"^likewise\b", lambda _, to=pointer: to, " ".join(written_there.split()))
        elsewhere = _ELSEWHERE.match(meaning)
        pointer = elsewhere[0] if elsewhere else ""
        if name in inspect.signature(function).parameters and name not in ("model", "x"):
            told[name] = meaning if elsewhere is None else resolved(name, elsewhere, meaning)
    return told


def resolved(option: str, elsewhere: re.Match[str], meaning: str) -> str:
    """``as for ``gradient``; units too`` with what ``gradient`` says of that option in its place."""
    there = option_meanings(getattr(attribution, elsewhere[1]))
    return there[option].removesuffix(".") + meaning[elsewhere.end() :]


def picture(method: Method) -> str:
    """The method's picture with what it was made of."""
    noted = pictures().get(method.name)
    if noted is None:
        return ""
    return f":::{{figure}} ../pictures/methods/{noted['file']}\n:alt: {noted['alt']}\n\n{noted['caption']}\n:::"


def pictures() -> dict[str, dict[str, Any]]:
    """What ``make_pictures.py`` noted of each method's picture."""
    return json.loads((PICTURES / "pictures.json").read_text())


def of_method(write: Callable[[Method], str]) -> Callable[[str], str]:
    """The same of a method's name; nothing of a method that this version does not have."""
    return lambda name: write(METHODS[name]) if name in METHODS else ""


def setup(app: Sphinx) -> ExtensionMetadata:
    """The directives."""
    written.add(app, "method-table", table)
    parts = {"picture": picture, "facts": facts, "claim": claim, "limits": limits, "options": options}
    for part, write in parts.items():
        written.add(app, f"method-{part}", of_method(write))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
