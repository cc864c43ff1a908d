"""A user's own file or package as a model: the oracle is the file that the test wrote."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import nn

from convscope.errors import ConvscopeError
from convscope.network import factories
from convscope.network.factories import build_from_factory

NET = """
    from torch import nn

    MEAN, STD, SIZE, CLASSES = (0.5,), (0.25,), 28, ("zero", "one")
    OTHER = 3
    ready = nn.Flatten()

    class Net(nn.Flatten):
        def __init__(self, start_dim=1):
            super().__init__(start_dim)

    def make(): return Net()
    def make_two(a, b): return Net()
    def number(): return 7
    def fails(): raise OSError("no disk")
    def leaves(): raise SystemExit(3)
    def later():
        import neighbour
        return neighbour.Net()
    """


@pytest.fixture(autouse=True)
def _imports_as_before() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    factories._neighbours.clear()


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text))
    return file


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write(tmp_path / "net.py", NET)


@pytest.mark.parametrize("name", ["make", "Net"])
def test_a_function_or_class_of_a_file_makes_the_module_and_its_constants_come_along(net: Path, name: str) -> None:
    module, constants = build_from_factory(f"{net}:{name}")
    assert type(module).__name__ == "Net"
    assert dict(constants) == {"MEAN": (0.5,), "STD": (0.25,), "SIZE": 28, "CLASSES": ("zero", "one")}


def test_a_path_with_a_colon_and_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a:b" / "net.py", NET)
    monkeypatch.chdir(tmp_path)
    assert type(build_from_factory("a:b/net.py:make")[0]).__name__ == "Net"


def test_a_package_is_imported_from_where_one_stands_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine" / "models" / "small.py", NET)
    monkeypatch.chdir(tmp_path)
    module, constants = build_from_factory("mine.models.small:make")
    assert type(module).__name__ == "Net"
    assert constants["SIZE"] == 28
    module, constants = build_from_factory("torch.nn:Identity")
    assert type(module) is nn.Identity
    assert dict(constants) == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mak", r"no factory 'mak' in .*net.py; did you mean 'make'"),
        ("OTHER", r"no factory 'OTHER' in"),
        ("make_two", r"net.py:make_two raised TypeError: .*missing 2 required"),
        ("number", r"net.py:number returned a int, not a torch.nn.Module"),
        ("fails", r"net.py:fails raised OSError: no disk"),
        ("leaves", r"net.py:leaves raised SystemExit: 3"),
        ("ready", r"'ready' in .*net.py is a module already; name a function or class"),
        ("later", r"net.py:later raised ModuleNotFoundError: No module named 'neighbour'"),
    ],
)
def test_what_makes_no_module_is_refused(net: Path, name: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        build_from_factory(f"{net}:{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:", "running .*net.py raised SyntaxError"),
        ("import nowhere", "running .*net.py raised ModuleNotFoundError: No module named 'nowhere'"),
        ("import sys; sys.exit(2)", "running .*net.py raised SystemExit: 2"),
        ("1 / 0", "running .*net.py raised ZeroDivisionError"),
    ],
)
def test_a_file_that_does_not_run_is_refused_and_leaves_no_module(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "net.py", text)
    with pytest.raises(ConvscopeError, match=message):
        build_from_factory(f"{file}:make")
    assert "_convscope_user_net" not in sys.modules


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nett.py:make", r"no file .*nett.py; did you mean 'net.py'"),
        ("no/net.py:make", r"no file .*no/net.py"),
        (
            "nowhere.models:make",
            r"no model 'nowhere.models:make': there is no module 'nowhere' \(a model is",
        ),
        ("torchvison:resnet50", r"there is no module 'torchvison'; did you mean 'torchvision'"),
        ("broken:make", "importing broken raised ZeroDivisionError"),
        ("leaving:make", "importing leaving raised SystemExit"),
        (":make", "':make' is no package.module:factory and no path/file.py:factory"),
    ],
)
def test_a_file_or_module_that_is_not_there_is_refused_with_the_nearest(
    net: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    write(net.parent / "broken.py", "1 / 0")
    write(net.parent / "leaving.py", "raise SystemExit")
    monkeypatch.chdir(net.parent)
    with pytest.raises(ConvscopeError, match=message):
        build_from_factory(spec)


def test_neighbours_are_imported_by_the_file_and_by_the_factory(net: Path) -> None:
    write(net.parent / "neighbour.py", "from torch import nn\nclass Net(nn.Identity): pass")
    module, _ = build_from_factory(f"{net}:later")
    assert type(module).__module__ == "neighbour"


def test_two_files_each_get_their_own_neighbour_of_one_name(tmp_path: Path) -> None:
    """Two versions of one project, compared on one sheet. Oracle: what each neighbour says of itself."""
    for version in (1, 2):
        folder = tmp_path / f"v{version}"
        write(folder / "blocks" / "__init__.py", "")
        write(folder / "blocks" / "deep.py", f"from torch import nn\nclass Net(nn.Identity): version = {version}")
        write(folder / "net.py", "from blocks.deep import Net")
    found = [build_from_factory(f"{tmp_path}/v{version}/net.py:Net")[0].version for version in (1, 2, 1)]
    assert found == [1, 2, 1]


def test_modules_from_elsewhere_are_never_taken_away(tmp_path: Path) -> None:
    """A file called torch.py beside the user's own must not unload torch."""
    write(tmp_path / "a" / "net.py", NET)
    build_from_factory(f"{tmp_path}/a/net.py:make")
    write(tmp_path / "b" / "torch.py", "")
    write(tmp_path / "b" / "net.py", NET)
    build_from_factory(f"{tmp_path}/b/net.py:make")
    assert sys.modules["torch"] is torch


def test_a_package_that_no_other_folder_has_stays_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever imports it later must get the very classes that the network is made of."""
    write(tmp_path / "mine" / "small.py", NET)
    monkeypatch.chdir(tmp_path)
    module, _ = build_from_factory("mine.small:make")
    write(tmp_path / "elsewhere" / "net.py", NET)
    build_from_factory("elsewhere/net.py:make")
    assert sys.modules["mine.small"].Net is type(module)


def test_a_file_that_tidies_the_import_path_itself_is_no_trouble(tmp_path: Path) -> None:
    file = write(tmp_path / "net.py", f"import sys\nsys.path.remove({str(tmp_path)!r})\nfrom torch.nn import Identity")
    assert isinstance(build_from_factory(f"{file}:Identity")[0], nn.Identity)


def test_dataclasses_of_the_file_find_their_module(tmp_path: Path) -> None:
    file = write(
        tmp_path / "net.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from torch import nn

        @dataclass
        class Widths:
            first: int = 3

        def make(): return nn.Identity(Widths().first)
        """,
    )
    assert isinstance(build_from_factory(f"{file}:make")[0], nn.Identity)
