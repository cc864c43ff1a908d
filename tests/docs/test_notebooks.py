"""What the notebooks promise beside running, which is a step of its own of the check (``.ci/run``).

Oracle: torchvision's own architectures and class names, for the lines that a reader takes for its weights; the folder.
"""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
import torch
import torchvision

import convscope as cs

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINE = re.compile(r"^# (\w[\w, ]* = .+)$", re.MULTILINE)  # a line of code to be taken in place of another


def name(file: Path) -> str:
    return file.stem


def cells(file: Path, kind: str) -> list[str]:
    found = json.loads(file.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def other_lines(file: Path) -> list[str]:
    """The commented lines of code, which run it on other weights or data."""
    return [line for source in cells(file, "code") for line in LINE.findall(source)]


def test_there_is_one_for_each_task() -> None:
    assert [file.name[0] for file in NOTEBOOKS] == list("12345")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=name)
def test_it_is_stored_without_outputs(file: Path) -> None:
    code = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
    assert not [cell for cell in code if cell["outputs"] or cell["execution_count"]]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=name)
def test_each_picture_has_a_text_before_it_and_the_last_cell_asks(file: Path) -> None:
    texts = cells(file, "markdown")
    assert texts[0].startswith("# ")
    questions = texts[-1].partition("## Try\n")[2]
    assert re.findall(r"^(\d)\. ", questions, re.MULTILINE)[:4] == list("1234")
    assert "?" in questions
    assert len(texts) >= 6


@pytest.mark.parametrize("file", NOTEBOOKS, ids=name)
def test_what_its_line_for_torchvision_names_is_there(file: Path) -> None:
    """Every text in these lines is a network of torchvision, a layer or a class of that, or a file's name."""
    lines = "\n".join(other_lines(file))
    networks = set(re.findall(r"torchvision:(\w+)", lines))
    assert networks, "no line for torchvision's weights"
    known = set(inspect.signature(cs.load).parameters)
    for network in networks:
        with torch.device("meta"):  # its layers without its weights
            module = torchvision.models.get_model(network)
        known |= {f"torchvision:{network}", *dict(module.named_modules())}
        known |= set(torchvision.models.get_model_weights(network).DEFAULT.meta["categories"])
    texts = {node.value for node in ast.walk(ast.parse(lines)) if isinstance(node, ast.Constant)}
    said = {text for text in texts if isinstance(text, str) and not re.search(r"/|\.tar$|\.txt$", text)}
    assert said - known == set()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=name)
def test_its_line_for_torchvision_sets_what_the_line_above_sets(file: Path) -> None:
    """A name that only the commented line sets would change nothing."""
    for source in cells(file, "code"):
        for line in LINE.findall(source):
            assert names_set(line) <= names_set(source) | {"places"}, line  # that are arguments of the next line


def names_set(source: str) -> set[str]:
    stored = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=name)
def test_it_is_listed_where_people_look(file: Path) -> None:
    assert file.name in (ROOT / "notebooks" / "README.md").read_text()
    assert f"(../notebooks/{file.name})" in (ROOT / "docs" / "notebooks.md").read_text()
