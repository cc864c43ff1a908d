"""``convscope predict``: the answers are the library's; accuracies against a count by hand."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import convscope as cs
from convscope import answers
from convscope.answers import input_logits
from tests import friendly


@pytest.fixture(scope="module")
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


@pytest.fixture
def labelled(tmp_path: Path, small: cs.Network) -> tuple[Path, dict[str, str]]:
    """Ten photos in a folder, and what the small network answers for each."""
    folder = tmp_path / "in"
    folder.mkdir()
    answers = {}
    for i in range(10):
        colour = tuple(255 * (i >> bit & 1) for bit in range(3))
        photo = Image.blend(friendly.photo(20, 20, seed=i), Image.new("RGB", (20, 20), colour), 0.8)
        photo.save(folder / f"{i}.png")
        answers[f"{i}.png"] = cs.predict(small, photo)[0][0]
    assert len(set(answers.values())) > 1, "the test needs a network that gives more than one answer"
    return folder, answers


# ---- what is answered ----------------------------------------------------------------------------------------


def test_json_of_one_picture_is_exactly_the_contract(cli, photos: Path, net: str, small: cs.Network) -> None:
    result = cli("predict", photos / "cat.jpg", "--model", net, "--top", 3, "--json")
    seen = cs.predict(small, photos / "cat.jpg", k=3)
    top = [{"class": name, "probability": probability} for name, probability in seen]
    assert json.loads(result.stdout) == [{"image": "cat.jpg", "top": top}]
    assert result.stderr == ""


def test_json_of_a_folder_has_an_entry_a_picture_in_order(
    cli, photos: Path, net: str, small: cs.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--batch 2``: three photos go through the network as two and one."""
    shutil.copytree(photos, "in/sub")
    batches: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(answers, "input_logits", lambda net, x: batches.append(len(x)) or input_logits(net, x))
        found = json.loads(cli("predict", "in", "--model", net, "--batch", 2, "--json").stdout)
    assert batches == [2, 1]
    assert [entry["image"] for entry in found] == ["sub/cat.jpg", "sub/coffee.png", "sub/rocket.jpg"]
    for entry in found:
        assert set(entry) == {"image", "top"}
        seen = cs.predict(small, Path("in") / entry["image"])
        assert [one["class"] for one in entry["top"]] == [name for name, _ in seen]
        assert [one["probability"] for one in entry["top"]] == pytest.approx([p for _, p in seen], rel=1e-5)


def test_bars_have_name_probability_and_logit_of_each_class(cli, photos: Path, net: str, small: cs.Network) -> None:
    seen = cs.predict(small, photos / "cat.jpg")
    heading, *lines = cli("predict", photos / "cat.jpg", "--model", net).stdout.splitlines()
    assert heading == "cat.jpg"
    for line, (name, probability), index in zip(lines, seen, seen.indices, strict=True):
        assert line.split()[0] == name
        assert line.count("█") == round(24 * probability)
        assert line.count("█") + line.count("░") == 24
        assert line.split()[2:] == [f"{probability:.1%}", "logit", f"{float(seen.logits[index]):.2f}"]


def test_the_bundled_model_is_the_default_and_knows_a_coffee(cli) -> None:
    cat, coffee, rocket = json.loads(cli("predict", "--demo", "--json").stdout)
    assert [entry["image"] for entry in (cat, coffee, rocket)] == ["cat", "coffee", "rocket"]
    assert coffee["top"][0]["class"] == "espresso"
    assert len(coffee["top"]) == 5


# ---- how often it is right -----------------------------------------------------------------------------------


def counted(text: str) -> tuple[int, int, str, str]:
    """right, count, top-1 and top-5 of the last line."""
    words = text.strip().splitlines()[-1].replace(",", "").split()
    assert words[1:4] == ["of", words[2], "right:"]
    return int(words[0]), int(words[2]), words[5], words[7]


def test_the_accuracy_over_class_folders_is_that_of_a_count_by_hand(cli, labelled, net: str, tmp_path: Path) -> None:
    """Every photo goes into one of three folders in turn."""
    folder, answers = labelled
    right = 0
    for i, (name, answer) in enumerate(answers.items()):
        label = ("lion", "n02123045_tabby", "crane")[i % 3]
        right += label.removeprefix("n02123045_") == answer
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, tmp_path / "data" / label / name)
    assert 0 < right < 10
    result = cli("predict", "data", "--model", net)
    assert counted(result.stdout) == (right, 10, f"{right / 10:.1%}", "100.0%")  # of four classes all are in the top 5
    rows = result.stdout.splitlines()[1:11]
    assert sum(row.split()[-1] == "yes" for row in rows) == right
    assert result.stderr == ""


def test_file_names_are_labels_too(cli, labelled, net: str) -> None:
    folder, answers = labelled
    for i, name in enumerate(answers):
        (folder / name).rename(folder / f"n02123045_lion_{i}.png")
    right = sum(answer == "lion" for answer in answers.values())
    found = json.loads(cli("predict", folder, "--model", net, "--json").stdout)
    assert [entry["ok"] for entry in found] == [answer == "lion" for answer in answers.values()]
    assert {entry["expected"] for entry in found} == {"lion"}
    assert counted(cli("predict", folder, "--model", net, "--labels", "names").stdout)[:2] == (right, 10)
    assert "right:" not in cli("predict", folder, "--model", net, "--labels", "none").stdout


def test_the_top_five_is_five_however_many_are_listed(cli, tmp_path: Path) -> None:
    """Oracle: the bundled network's own order; the label is its fifth class, then its sixth."""
    with torch.random.fork_rng(devices=[]):
        order = [name for name, _ in cs.predict(cs.load(), friendly.photo(80, 80), k=6)]
    friendly.photo(80, 80).save(tmp_path / "a.png")
    for name, share in ((order[4], "100.0%"), (order[5], "0.0%")):
        (tmp_path / "t.csv").write_text(f"image,expected\na.png,{name}\n")
        result = cli("predict", ".", "--top", 1, "--expected", "t.csv")
        assert counted(result.stdout) == (0, 1, "0.0%", share)


def test_a_table_of_expected_names_with_several_right_ones(cli, labelled, net: str, tmp_path: Path) -> None:
    folder, answers = labelled
    rows = [f"{name},{'tabby|lion' if i % 2 else 'tabby'}" for i, name in enumerate(answers)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,expected", *rows]))
    expected = [a == "tabby" or (i % 2 == 1 and a == "lion") for i, a in enumerate(answers.values())]
    result = cli("predict", folder, "--model", net, "--expected", "labels.csv", "--csv", "deep/out.csv")
    assert counted(result.stdout)[:2] == (sum(expected), 10)
    with Path("deep/out.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["image"] for row in written] == list(answers)
    assert [row["ok"] for row in written] == [str(ok) for ok in expected]
    assert [row["class_1"] for row in written] == list(answers.values())


def test_the_csv_has_every_class_with_probability_and_logit(cli, photos: Path, net: str, small: cs.Network) -> None:
    cli("predict", photos, "--model", net, "--top", 2, "--csv", "out.csv")
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "class_1", "probability_1", "logit_1", "class_2", "probability_2", "logit_2"]
    for row in rows[1:]:
        seen = cs.predict(small, photos / row[0], k=2)
        assert [row[1], row[4]] == [name for name, _ in seen]
        assert [float(row[2]), float(row[5])] == pytest.approx([p for _, p in seen], abs=1e-6)
        assert [float(row[3]), float(row[6])] == pytest.approx(seen.logits[list(seen.indices)].tolist(), abs=1e-4)


def test_a_single_picture_may_have_a_label_too(cli, photos: Path, net: str) -> None:
    shutil.copy(photos / "cat.jpg", "tabby_1.jpg")
    assert cli("predict", "tabby_1.jpg", "--model", net, "--labels", "names").stdout.startswith(
        "tabby_1.jpg (expected: tabby)\n"
    )
    assert cli("predict", "tabby_1.jpg", "--model", net).stdout.startswith("tabby_1.jpg\n")


def test_almost_labelled_folders_say_why_there_is_no_accuracy(cli, photos: Path, net: str) -> None:
    for name in ("tabby_1.jpg", "tabby_2.jpg", "tabbi_3.jpg"):
        Path("in").mkdir(exist_ok=True)
        shutil.copy(photos / "cat.jpg", Path("in") / name)
    result = cli("predict", "in", "--model", net)
    assert "right:" not in result.stdout
    assert result.stderr == (
        "note: no accuracy: 1 of 3 file names are no class of the network, the first is 'tabbi_3'; did you mean "
        "'tabby'?\n"
    )


def test_a_class_called_like_markup_is_printed_as_it_is(cli, photos: Path, tmp_path: Path, net: str) -> None:
    (tmp_path / "names.txt").write_text("[red]rose[/y]\n[/x]\n[b]\n[[\n")
    for args in (("predict", photos), ("predict", photos / "cat.jpg")):
        out = cli(*args, "--model", net, "--classes", "names.txt").stdout
        assert any(name in out for name in ("[red]rose[/y]", "[/x]", "[b]", "[["))


# ---- what cannot be used -------------------------------------------------------------------------------------


@pytest.fixture
def without_and_with_a_bad_one(labelled) -> tuple[Path, Path]:
    folder, _ = labelled
    for photo in sorted(folder.iterdir()):
        photo.rename(folder / f"tabby_{photo.name}")
    bad = shutil.copytree(folder, folder.parent / "bad")
    (bad / "tabby_3x.png").write_bytes((folder / "tabby_3.png").read_bytes()[:300])
    (bad / "broken.jpg").write_text("I am text")
    return folder, bad


@pytest.mark.parametrize("args", [(), ("--labels", "names"), ("--json",), ("--csv", "t.csv")])
def test_bad_pictures_are_skipped_and_listed_and_change_nothing(
    cli, without_and_with_a_bad_one, net: str, args: tuple[str, ...]
) -> None:
    """Oracle: the run without them, to the last byte; a broken file needs no label."""
    good, bad = without_and_with_a_bad_one
    expected = cli("predict", good, "--model", net, *args)
    result = cli("predict", bad, "--model", net, *args, code=1)
    assert result.stdout == expected.stdout
    lines = result.stderr.splitlines()
    assert sorted(line.split(":")[0] for line in lines) == ["skipped broken.jpg", "skipped tabby_3x.png"]


def test_a_photo_that_the_network_does_not_take_is_skipped_too(cli, photos: Path, net: str) -> None:
    folder = shutil.copytree(photos, "in")
    Image.new("RGB", (30_000, 1)).save(Path(folder) / "long.png")
    result = cli("predict", folder, "--model", net, "--size", 1000, "--batch", 1, "--json", code=1)
    assert len(json.loads(result.stdout)) == 3
    assert result.stderr.startswith("skipped long.png: the photo of 30000 x 1 is too elongated")


def test_a_folder_without_any_usable_picture_is_refused(cli, net: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("text")
    result = cli("predict", "in", "--model", net, "--csv", "t.csv", code=2)
    assert result.stdout == ""
    assert "none of the 1 pictures in in can be used" in result.stderr
    assert not Path("t.csv").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("in", "--labels", "folder"), "--labels 'folder' is none of auto, folders, names, none"),
        (("in", "--labels", "folders"), "10 of 10 folders' names are no class of the network, the first is 'in'"),
        (("in", "--expected", "no.csv"), "cannot read no.csv: No such file"),
        (("in", "--expected", "wrong.csv"), "wrong.csv expects 'tabbi', no class of the network; did you mean 'tabby'"),
        (("in", "--expected", "columns.csv"), "columns.csv needs the columns 'image' and 'expected'"),
        (("in", "--csv", "in"), "cannot write in: it is a folder"),
        (("in", "--csv", "wrong.csv/out.csv"), "cannot write into wrong.csv: it is a file, not a folder"),
        (("nothing.jpg",), "there is no file nothing.jpg"),
        ((), "give a picture or a folder of pictures, or --demo"),
    ],
)
def test_refusals_are_one_line_and_leave_no_file(
    cli: Callable, labelled, net: str, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    (tmp_path / "wrong.csv").write_text("image,expected\n" + "".join(f"{i}.png,tabbi\n" for i in range(10)))
    (tmp_path / "columns.csv").write_text("a,b\n1,2\n")
    before = sorted(tmp_path.rglob("*"))
    result = cli("predict", *args, "--model", net, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"convscope: {message}")
    assert sorted(tmp_path.rglob("*")) == before


# ---- real photos ---------------------------------------------------------------------------------------------


def test_squeezenet_on_two_hundred_imagenet_photos(cli, shared: Path) -> None:
    """The published network: 61.2 % top-1 and 83.3 % top-5 on 1,000 such photos."""
    weights = shared / "models" / "squeezenet1_0_imagenet.safetensors"
    result = cli(
        "predict", shared / "data" / "imagenet_photos", "--model", "torchvision:squeezenet1_0", "--weights", weights,
        "--batch", 50,
    )  # fmt: skip
    right, count, top1, top5 = counted(result.stdout)
    assert count == 200
    assert right >= 0.57 * 200
    assert top1 == f"{right / 200:.1%}"
    assert float(top5.removesuffix("%")) >= 80
    assert result.stderr == ""
