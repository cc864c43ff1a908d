"""Every method, option and command has its place in the documentation; every page is reached and every link leads.

Oracle: the registry of methods, the signatures of their functions, and the program of the command line itself.
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
from PIL import Image

import convscope as cs
from convscope import atlases, attribution
from convscope.attribution import METHODS
from convscope.cli import running
from convscope.results import Shown

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
PICTURES = json.loads((DOCS / "pictures" / "methods" / "pictures.json").read_text())
PARTS = ("claim", "picture", "limits", "options", "facts")
HEADINGS = ("Definition", "What it can tell", "What it cannot tell", "Try it", "Options", "Traps", "How it is tested")

Extension = Callable[[str], ModuleType]


def relative(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


# ---- methods


def test_every_method_has_a_page_and_every_page_a_method() -> None:
    pages = {page.stem for page in PAGES if page.parent.name == "methods"} - {"index"}
    assert pages == set(METHODS)


def test_the_pages_of_methods_are_listed_in_the_order_of_the_registry() -> None:
    assert toctree(DOCS / "methods" / "index.md") == [DOCS / "methods" / f"{name}.md" for name in METHODS]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_page_has_its_parts_and_each_of_its_own(name: str) -> None:
    text = (DOCS / "methods" / f"{name}.md").read_text()
    asked = dict(re.findall(r"^```\{method-(\w+)\} (\S+)$", text, re.MULTILINE))
    assert asked == dict.fromkeys(PARTS, name)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert tuple(headings[: len(HEADINGS)]) == HEADINGS
    assert "$" in text.partition("## Definition")[2].partition("## ")[0], "no equation"
    assert "arxiv.org" in text or "doi.org" in text, "no source"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_page_does_not_repeat_what_the_registry_says(name: str) -> None:
    """Six words in a row are a repetition."""
    own = runs_of_words((DOCS / "methods" / f"{name}.md").read_text())
    assert not own & runs_of_words(f"{METHODS[name].claim} / {METHODS[name].limits}")


def runs_of_words(text: str, length: int = 6) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9'/]+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_picture_is_there_small_and_described(name: str) -> None:
    noted = PICTURES[name]
    file = DOCS / "pictures" / "methods" / noted["file"]
    with Image.open(file) as picture:
        assert min(picture.size) >= 600
    assert file.stat().st_size <= 60_000
    assert name in noted["caption"]
    assert "bundled:tiny50" in noted["caption"]
    assert noted["alt"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_s_page_tells_of_every_option(name: str, extension: Extension) -> None:
    text = extension("method_pages").options(METHODS[name])
    told = dict(re.findall(r"^`(\w+) = .*`\n: (.*)$", text, re.MULTILINE))
    assert list(told) == list(METHODS[name].defaults)
    assert not [option for option, meaning in told.items() if len(meaning) < 10]
    pointing = ("see ", "as for ``", "likewise")
    assert not [option for option, meaning in told.items() if meaning.startswith(pointing)], "it only points elsewhere"


def test_the_table_of_methods_is_the_registry(extension: Extension) -> None:
    rows = extension("method_pages").table().splitlines()[3:]
    assert [re.match(r"\| \[(\S+)\]", row)[1] for row in rows] == list(METHODS)
    for row, method in zip(rows, METHODS.values(), strict=True):
        assert method.claim in row
        assert f"| {PICTURES[method.name]['passes']:,} |" in row


# ---- the command line


@pytest.fixture(scope="module")
def program():
    for name in running.COMMANDS:
        importlib.import_module(f"convscope.cli.{name}")
    return typer.main.get_command(running.app)


def test_every_command_and_option_is_in_the_reference(extension: Extension, program) -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", extension("command_pages").reference(), re.M | re.S))
    assert set(running.COMMANDS) <= set(sections)
    for name, command in program.commands.items():
        for parameter in command.params:
            names = [*parameter.opts, *parameter.secondary_opts]
            names = names if names[0].startswith("-") else [parameter.metavar or parameter.name]
            for word in names:
                assert f"`{word}`" in sections[name], f"{name} {word}"
            assert parameter.help, f"{name} {names[0]} says nothing"
            assert parameter.help.split()[0] in sections[name]


def test_help_that_names_a_default_of_its_own_is_quoted(extension: Extension) -> None:
    text = extension("command_pages").reference()
    assert "Default: `bundled:tiny50`." in text
    assert "Default: `png`." in text
    assert "[cyan]" not in text


def test_every_command_is_on_a_page_that_people_read() -> None:
    written = "\n".join(page.read_text() for page in PAGES)
    shell = "\n".join(file.read_text() for file in (DOCS / "snippets").rglob("*.sh"))
    assert not [name for name in running.COMMANDS if f"convscope {name}" not in written + shell]


# ---- Python


@pytest.mark.parametrize("module", [cs, attribution])
def test_every_public_function_and_class_is_in_the_reference(module: ModuleType, extension: Extension) -> None:
    text = extension("api_pages").reference(module.__name__)
    listed = re.findall(rf"^\.\. auto\w+:: {module.__name__}\.(\w+)$", text, re.MULTILINE)
    assert set(listed) == {name for name in module.__all__ if callable(getattr(module, name))}
    assert "api-reference} " + module.__name__ in (DOCS / "python.md").read_text()


def in_the_reference(extension: Extension) -> set[str]:
    """Every function and class that ``python.md`` lists, by its full name."""
    asked = re.findall(r"^```\{api-reference\} (.+)$", (DOCS / "python.md").read_text(), re.MULTILINE)
    texts = (extension("api_pages").reference(*words.split()) for words in asked)
    return {name for text in texts for name in re.findall(r"^\.\. auto\w+:: (\S+)$", text, re.MULTILINE)}


def programs() -> Iterator[str]:
    """The snippets, and the cells of the notebooks."""
    yield from (file.read_text() for file in (DOCS / "snippets").rglob("*.py"))
    for file in (DOCS.parent / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text())["cells"]
        yield from ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_every_function_that_a_snippet_or_notebook_imports_is_in_the_reference(extension: Extension) -> None:
    imports = re.compile(r"^from (convscope\S*) import (.+)$", re.MULTILINE)
    found = map(imports.findall, programs())
    used = {f"{module}.{name}" for each in found for module, names in each for name in names.split(", ")}
    called = {
        name
        for name in used
        if callable(getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]))
    }
    assert len(called) > 40
    assert called - in_the_reference(extension) == set()


def test_every_result_over_a_data_set_is_in_the_reference(extension: Extension) -> None:
    names = [f"convscope.atlases.{each.name}" for each in pkgutil.iter_modules(atlases.__path__)]
    every = [thing for name in names for thing in vars(importlib.import_module(name)).values()]
    results = {thing for thing in every if isinstance(thing, type) and issubclass(thing, Shown) and thing is not Shown}
    here = {f"{thing.__module__}.{thing.__qualname__}" for thing in results if thing.__module__ in names}
    assert len(here) > 10
    assert here - in_the_reference(extension) == set()


# ---- pages and links


def toctree(page: Path) -> list[Path]:
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    entries = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    return [page.parent / f"{entry}.md" for entry in entries]


def test_every_page_is_reached_from_the_first_one() -> None:
    seen, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        assert page.exists(), page
        seen.add(page)
        waiting += [further for further in toctree(page) if further not in seen]
    assert seen == set(PAGES)


def links(page: Path) -> Iterator[str]:
    text = page.read_text()
    yield from re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    yield from re.findall(r"^```\{(?:figure|literalinclude)\} (\S+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_no_page_links_to_a_file_that_is_not_there(page: Path) -> None:
    inside = [link for link in links(page) if not re.match(r"https?:", link)]
    assert not [link for link in inside if not (page.parent / link).exists()]


def test_every_snippet_is_on_a_page() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    compared = set((DOCS / "snippets" / "coming_from").rglob("*.py"))
    assert {file for file in (DOCS / "snippets").rglob("*.*") if file.suffix in (".py", ".sh")} - compared <= shown


def test_no_page_needs_the_network_or_speaks_of_this_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(home|root|work|tmp)/", page.read_text()), page
