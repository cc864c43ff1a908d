"""``convscope audit``. The numbers are proved in ``tests/audits``; here the command asks for the right ones."""

import json
from pathlib import Path

import pytest
from PIL import Image

import convscope as cs
from convscope.audits import auditing
from tests.cli.test_dissect import loaded

COLOURS = ("red", "green", "blue", "white", "black", "yellow")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Plain colours in folders of the network's classes."""
    for number, colour in enumerate(COLOURS):
        path = tmp_path / "in" / ("tabby", "lion")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 18), colour).save(path)
    rows = [f"{('tabby', 'lion')[n % 2]}/{n}.png,2,2,12,12" for n in range(6)]
    (tmp_path / "boxes.csv").write_text("\n".join(["path,x0,y0,x1,y1", *rows]))
    return tmp_path / "in"


def test_a_page_and_a_table(cli, data: Path, net: str) -> None:
    result = cli("audit", data, "--boxes", "boxes.csv", "--train", data, "--model", net, "--nearest", 2)
    expected = cs.audit(loaded(net), data, boxes=Path("boxes.csv"), train=data, nearest=2)
    assert 0 < len(expected.errors) < 6
    lines = result.stdout.splitlines()
    assert lines[0] == f"{expected.title} (6 photos in in)"
    for rank, one in enumerate(expected.errors, 1):
        (line,) = [line for line in lines if line.split()[:2] == [str(rank), one.name]]
        near = ", ".join(each.label for each in expected.near[rank - 1])
        assert line.split()[2:5] == [expected.label_of(one), expected.called(one), f"{one.loss:.2f}"]
        assert line.rstrip().endswith(near)
    assert lines[-1] == "convscope-out/in.net.py~make.audit/audit.html"
    assert Path(lines[-1]).is_file()
    (note,) = expected.notes  # the data is its own training data
    assert result.stderr == f"note: {note}\n"


def test_json_has_every_number_and_the_page(cli, data: Path, net: str) -> None:
    said = json.loads(cli("audit", data, "--model", net, "--json", "--top", 0, "--out", "there").stdout)
    files = said.pop("files")
    assert files == ["there/in.net.py~make.audit/audit.html"]
    assert said == json.loads((Path(files[0]).parent / "audit.json").read_text())
    assert said == cs.audit(loaded(net), data, top=0).as_json()


def test_images_that_cannot_be_read_are_named_and_the_exit_code_says_so(cli, data: Path, net: str) -> None:
    (data / "lion" / "1.png").write_bytes(b"no picture")
    result = cli("audit", data, "--model", net, code=1)
    assert "skipped lion/1.png: " in result.stderr
    assert "of 5 images" in result.stdout
    assert "lion/1.png" in Path(result.stdout.splitlines()[-1]).read_text()


def test_the_page_of_an_earlier_run_inside_the_data_is_no_data(cli, data: Path, net: str) -> None:
    for _ in range(2):
        result = cli("audit", data, "--model", net, "--out", data / "pages")
        assert "6 photos in in" in result.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--labels", "none"), "needs to know what is right"),
        (("--method", "saliency-map"), "no method 'saliency-map'"),
        (("--boxes", "nothing.csv"), "nothing.csv"),
        (("--train", "nothing"), "nothing"),
    ],
)
def test_refusals_leave_nothing(cli, data: Path, net: str, args: tuple[str, ...], why: str) -> None:
    result = cli("audit", data, "--model", net, *args, code=2)
    assert why in result.stderr
    assert result.stdout == ""
    assert not Path("convscope-out").exists()


def test_another_folder_of_the_pages_name_is_refused_before_the_work(
    cli, data: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "audit", pytest.fail)
    mine = Path("convscope-out") / "in.net.py~make.audit" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("all of it")
    result = cli("audit", data, "--model", net, code=2)
    assert "something else is there" in result.stderr
    assert [path.name for path in mine.parent.iterdir()] == ["thesis.txt"]


def test_an_interrupted_run_leaves_nothing(cli, data: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(auditing, "confusions", interrupted)
    result = cli("audit", data, "--model", net, code=130)
    assert "interrupted" in result.stderr
    assert not Path("convscope-out").exists()
