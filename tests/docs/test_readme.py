"""The first page that people read: its commands are ones that convscope takes, its links and pictures are there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from convscope.cli.running import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
LINES = re.findall(r"^\|.*\|$|^convscope .*$|^- `convscope .*", README, re.MULTILINE)


def commands() -> list[str]:
    """Each as it is typed; of "`convscope dream A --layer B`, `--guide C`" also ``convscope dream A --guide C``."""
    found: list[str] = []
    for line in LINES:
        begun = ""
        for said in re.findall(r"`([^`]+)`", line) or [line]:
            if said.startswith("convscope "):
                begun = " ".join(said.partition(" --")[0].split())
                found.append(said)
            elif begun and said.startswith("--"):
                found.append(f"{begun} {said}")
    return [said.replace("IMAGE|FOLDER", "cat.jpg") for said in found]


@pytest.fixture(scope="module")
def group() -> TyperGroup:
    for name in COMMANDS:
        importlib.import_module(f"convscope.cli.{name}")
    made = typer.main.get_command(app)
    assert isinstance(made, TyperGroup)
    return made


@pytest.mark.parametrize("said", commands())
def test_a_command_of_the_readme_is_one_that_convscope_takes(said: str, group: TyperGroup) -> None:
    """Oracle: the command line's own parser, which raises where a command or an option is none."""
    _, command, *args = shlex.split(said)
    assert command in group.commands
    group.commands[command].make_context(command, args)


def test_the_readme_shows_every_command(group: TyperGroup) -> None:
    assert [name for name in group.commands if f"convscope {name}" not in README] == []


def test_what_the_readme_links_to_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("http")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
