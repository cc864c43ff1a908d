"""``convscope demo``: what it says, its exit codes, and what it refuses. The chapters themselves: tests/tours."""

import json
from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.tours import demo as tours
from convscope.writing import UnwritableError
from tests.tours.made_up import MadeUp


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    made = MadeUp()
    monkeypatch.setattr(tours, "STAGES", made.stages)
    return made


def test_it_prints_the_page_and_says_how_to_open_it(cli, made_up, workplace: Path) -> None:
    result = cli("demo")
    assert result.stdout == "convscope-demo/index.html\n"
    lines = result.stderr.splitlines()
    assert lines[0] == "1 of 3  Title one"
    assert lines[1].split(", ")[0].strip() == "2 pictures"
    assert lines[-1] == f"open it in a browser: {(workplace / 'convscope-demo' / 'index.html').as_uri()}"


def test_json_names_every_picture(cli, made_up) -> None:
    said = json.loads(cli("demo", "--out", "tour", "--json").stdout)
    assert said["page"] == "tour/index.html"
    assert [one["name"] for one in said["chapters"]] == ["one", "two", "three"]
    files = [file for one in said["chapters"] for file in one["pictures"]]
    assert files[0] == "one/first.png"
    assert all((Path("tour") / file).is_file() for file in files)


def test_a_second_run_has_nothing_to_do_and_overwrite_makes_all_anew(cli, made_up) -> None:
    cli("demo")
    result = cli("demo")
    assert "all 3 chapters are there already" in result.stderr
    assert result.stdout == "convscope-demo/index.html\n"
    cli("demo", "--overwrite")
    assert made_up.made == ["one", "two", "three"] * 2


def test_ctrl_c_ends_with_130_and_names_the_page(cli, made_up, workplace: Path) -> None:
    made_up.failing = "two"
    result = cli("demo", code=130)
    address = (workplace / "convscope-demo" / "index.html").as_uri()
    assert f"{address} shows the chapters that are ready; the same command makes the others" in result.stderr
    assert "1 of 3 chapters are ready" in Path("convscope-demo/index.html").read_text()
    made_up.failing = ""
    cli("demo")
    assert made_up.made == ["one", "two", "two", "three"]


def test_a_full_disk_ends_with_2_and_says_so(cli, made_up) -> None:
    made_up.failing, made_up.error = "two", UnwritableError("cannot write b.png: No space left on device")
    result = cli("demo", code=2)
    assert "convscope: cannot write b.png: No space left on device" in result.stderr
    assert "the same command makes the others" in result.stderr


def test_where_another_run_writes_nothing_is_said_of_going_on(cli, made_up) -> None:
    made_up.failing, made_up.error = "two", ConvscopeError("another run is writing into convscope-demo")
    result = cli("demo", code=2)
    assert "convscope: another run is writing" in result.stderr
    assert "the same command" not in result.stderr


def test_a_folder_with_other_things_is_refused_and_stays_as_it_was(cli, made_up) -> None:
    Path("full").mkdir()
    Path("full/letter.txt").write_text("dear")
    for more in ([], ["--overwrite"]):
        assert "is no demo, and not empty" in cli("demo", "--out", "full", *more, code=2).stderr
    assert [path.name for path in Path("full").iterdir()] == ["letter.txt"]
    assert made_up.made == []
