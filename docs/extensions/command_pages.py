"""The reference of the command line, written from the program that runs: every command, argument and option."""

import importlib
import re
from typing import Any

import typer
import written
from rich.text import Text
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from convscope.cli import running

_CODE = re.compile(r"'convscope [^']*'|(?<!\S)(?<!`)--[a-z][a-z-]*|(?<=\()--[a-z][a-z-]*(?: [a-z]+)?(?=\))")


def program() -> Any:
    """The program with all its commands registered."""
    for module in running.COMMANDS:
        importlib.import_module(f"convscope.cli.{module}")
    return typer.main.get_command(running.app)


def reference() -> str:
    """A section a command, in the order of ``convscope --help``."""
    root = program()
    sections = [section(name, root.commands[name]) for name in root.commands]
    return "\n\n".join([*sections, "## Of the program itself", entries(root.params)])


def section(name: str, command: Any) -> str:
    """One command: what it does, its arguments, its options by panel."""
    arguments = [p for p in command.params if is_argument(p)]
    usage = " ".join([f"convscope {name}", "[OPTIONS]", *(f"[{p.metavar or p.name}]" for p in arguments)])
    parts = [f"## {name}", f"```text\n{usage}\n```", described(command.help), entries(arguments)]
    panels: dict[str, list[Any]] = {}
    for option in command.params:
        if not is_argument(option) and not option.hidden:
            panels.setdefault(option.rich_help_panel or "Options", []).append(option)
    for panel, options in panels.items():
        parts += [f"### {panel}", entries(options)]
    return "\n\n".join(part for part in parts if part)


def is_argument(parameter: Any) -> bool:
    """Given by its place, not by a name."""
    return not parameter.opts[0].startswith("-")


def described(text: str) -> str:
    """The command's help; its coloured examples as a block of code."""
    blocks: list[str] = []
    for paragraph in text.split("\n\n"):
        plain = Text.from_markup(paragraph).plain
        if not paragraph.startswith("[cyan]"):
            marked = paragraph.replace("[cyan]", "`").replace("[/]", "`")
            blocks.append(as_code(" ".join(Text.from_markup(marked).plain.split())))
        elif blocks and blocks[-1].endswith("\n```"):
            blocks[-1] = blocks[-1].removesuffix("```") + f"{plain}\n```"
        else:
            blocks.append(f"```text\n{plain}\n```")
    return "\n\n".join(blocks)


def entries(parameters: list[Any]) -> str:
    """A definition list."""
    return "\n\n".join(f"{term(p)}\n: {meaning(p)}" for p in parameters)


def term(parameter: Any) -> str:
    """``--target, -t TEXT``."""
    if is_argument(parameter):
        return f"`{parameter.metavar or parameter.name}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {kind(parameter)}"


def kind(parameter: Any) -> str:
    """What the option takes."""
    wanted = parameter.metavar or getattr(parameter.type_descriptor.annotation, "__name__", "text")
    return {"str": "text", "list": "text", "int": "number", "float": "number", "Path": "path"}.get(wanted, wanted)


def meaning(parameter: Any) -> str:
    """Its help, its default, and whether it may be repeated."""
    text = as_code(" ".join((parameter.help or "").split()))
    told = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    if told is not None and told is not False and parameter.expose_value:
        text += f" Default: `{told}`."
    return text + (" May be repeated." if parameter.multiple and "epeat" not in text else "")


def as_code(text: str) -> str:
    """Options and quoted commands as such, lest two hyphens become a dash."""
    return _CODE.sub(lambda found: f"`{found[0].strip(chr(39))}`", text)


def setup(app: Sphinx) -> ExtensionMetadata:
    """The directive ``{command-reference}``."""
    written.add(app, "command-reference", reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
