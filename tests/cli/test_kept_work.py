"""Kept work on disk: what comes back is what was kept; when the folder goes and when it stays; Ctrl-C."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import convscope as cs
from convscope.cli import kept_work as module
from convscope.cli.kept_work import KeptWork, kept_work, network_asked
from convscope.errors import ConvscopeError
from convscope.optimised.interrupted import Interrupted
from convscope.synthesis.keeping import Keeper, keep_finished, keep_state, kept_state
from convscope.writing import write_file

OUT = Path("out")


@pytest.fixture(autouse=True)
def in_the_foreground() -> Iterator[None]:
    """A script that runs the tests in its background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def folders() -> list[str]:
    return sorted(path.name for path in OUT.iterdir()) if OUT.exists() else []


def run(
    block: Callable[[KeptWork], Any], *, resume: bool = False, write_ready: Any = None, **asked: object
) -> KeptWork:
    with kept_work(OUT, "dream", asked, resume=resume, write_ready=write_ready) as work:
        block(work)
    return work


def stopped(block: Callable[[KeptWork], Any], error: type[BaseException] = KeyboardInterrupt, **asked: Any) -> None:
    """The block, of which ``error`` comes out."""
    with pytest.raises(error):
        run(block, **asked)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupted_run(**asked: object) -> None:
    """Keeps one finished picture, then Ctrl-C."""

    def block(work: KeptWork) -> None:
        work.keep("lion", {"values": torch.arange(3.0)})
        press_ctrl_c()

    stopped(block, **asked)


def test_tensors_of_every_kind_come_back_to_the_bit(generator: torch.Generator) -> None:
    given = {
        "parameters 0": torch.randn(2, 3, 4, generator=generator),
        "step": torch.tensor(7),
        "generator": generator.get_state(),
        "a view": torch.randn(4, 6, generator=generator).T[::2],
        "doubles": torch.randn(2, generator=generator, dtype=torch.float64),
        "fired": torch.tensor([True, False]),
    }
    work = KeptWork(OUT / "kept")
    assert isinstance(work, Keeper)
    assert work.kept("features.3:1") is None
    work.keep("features.3:1", given)
    kept = KeptWork(OUT / "kept").kept("features.3:1")
    assert kept is not None
    assert kept.keys() == given.keys()
    for name, tensor in given.items():
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(kept[name], tensor), name
    work.forget("features.3:1")
    work.forget("features.3:1")
    assert work.kept("features.3:1") is None


def test_keys_that_no_file_could_be_called_are_kept_apart() -> None:
    work = KeptWork(OUT / "kept")
    keys = ["a/b", "a/b/state", "../a", "x" * 900, "ſ", "A", "a"]
    for number, key in enumerate(keys):
        work.keep(key, {"n": torch.tensor(number)})
    assert [int((work.kept(key) or {})["n"]) for key in keys] == list(range(len(keys)))
    assert folders() == ["kept"]


def test_a_file_that_is_broken_is_said_to_be_and_made_anew(capsys) -> None:
    work = KeptWork(OUT / "kept")
    work.keep("lion", {"n": torch.tensor(1)})
    (file,) = (OUT / "kept").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    assert work.kept("lion") is None
    assert "cannot be read and is made anew" in capsys.readouterr().err


def test_a_run_that_ends_leaves_nothing_and_the_results_stay() -> None:
    with kept_work(OUT, "dream", {}, resume=False) as work:
        work.keep("lion", {"n": torch.tensor(1)})
        assert len(folders()) == 1
        (OUT / "sheet.png").write_text("a sheet")
    assert folders() == ["sheet.png"]


def failing(error: Exception) -> Callable[[KeptWork], None]:
    def block(work: KeptWork) -> None:
        work.keep("lion", {"n": torch.tensor(1)})
        raise error

    return block


def test_a_refused_run_leaves_no_folder_at_all() -> None:
    stopped(failing(ConvscopeError("no such layer")), ConvscopeError)
    assert not OUT.exists()


def test_a_crash_keeps_what_there_is() -> None:
    stopped(failing(ZeroDivisionError()), ZeroDivisionError)
    assert len(folders()) == 1


def test_resume_goes_on_from_what_is_kept(capsys) -> None:
    interrupted_run(steps=3)
    assert "the same command with --resume goes on from here" in capsys.readouterr().err
    with kept_work(OUT, "dream", {"steps": 3}, resume=True) as work:
        assert torch.equal((work.kept("lion") or {})["values"], torch.arange(3.0))
    assert capsys.readouterr().err == "note: goes on from where it stopped\n"
    assert folders() == []


def test_without_resume_it_is_thrown_away_and_said(capsys) -> None:
    interrupted_run(steps=3)
    capsys.readouterr()
    with kept_work(OUT, "dream", {"steps": 3}, resume=False) as work:
        assert work.kept("lion") is None
    assert capsys.readouterr().err.startswith("note: begins anew; ")


def test_another_request_is_another_folder_and_resume_says_so(capsys) -> None:
    interrupted_run(steps=3)
    capsys.readouterr()
    with kept_work(OUT, "dream", {"steps": 4}, resume=True) as work:
        assert work.kept("lion") is None
    assert "nothing to go on from in out; what is kept there is of another request" in capsys.readouterr().err
    assert len(folders()) == 1  # the first one's
    with kept_work(OUT, "invert", {"steps": 3}, resume=True) as work:
        assert work.kept("lion") is None
    assert "nothing to go on from in out: starts from the beginning" in capsys.readouterr().err


def test_ctrl_c_waits_for_the_end_of_the_step_and_keeps_its_state(capsys) -> None:
    steps = []

    def block(work: KeptWork) -> None:
        for step in range(10):
            if step == 4:
                press_ctrl_c()
            steps.append(step)
            keep_state(work, "lion", lambda now=step: {"step": torch.tensor(now)})

    stopped(block)
    assert steps == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err.startswith("stops after this step; Ctrl-C again stops at once\n")
    run(lambda work: steps.append(int((kept_state(work, "lion") or {})["step"])), resume=True)
    assert steps[-1] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait() -> None:
    said = []

    def block(work: KeptWork) -> None:
        keep_state(work, "lion", dict)
        press_ctrl_c()
        said.append("still in the step")
        press_ctrl_c()
        said.append("after the second")

    stopped(block)
    assert said == ["still in the step"]


@pytest.mark.parametrize("finished", [False, True])
def test_before_and_between_pictures_ctrl_c_stops_at_once(finished: bool) -> None:
    said = []

    def block(work: KeptWork) -> None:
        if finished:
            keep_state(work, "lion", dict)
            keep_finished(work, "lion", {"n": torch.tensor(1)})
        press_ctrl_c()
        said.append("it went on")

    stopped(block)
    assert said == []


def test_ctrl_c_in_the_last_step_still_keeps_all_pictures_of_the_batch() -> None:
    with kept_work(OUT, "dream", {}, resume=False) as work:
        keep_state(work, "batch", dict)
        press_ctrl_c()
        for name in "abc":
            keep_finished(work, name, {"n": torch.tensor(1)})
        assert all(work.kept(name) for name in "abc")


def test_what_is_ready_is_written_and_what_is_not_is_named(capsys) -> None:
    written = []

    def block(work: KeptWork) -> None:
        work.keep("lion", {"n": torch.tensor(1)})
        raise Interrupted("a sheet", tuple(f"class {i}" for i in range(12)))

    stopped(block, write_ready=written.append)
    assert written == ["a sheet"]
    assert capsys.readouterr().err.splitlines() == [
        f"not made: {', '.join(f'class {i}' for i in range(8))}, ...",
        "the same command with --resume goes on from here",
    ]


def test_states_are_due_every_20_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    work = KeptWork(OUT / "kept")
    due = []
    for seconds in range(50):
        now[0] = 100.0 + seconds
        keep_state(work, "lion", lambda s=seconds: due.append(s) or {"n": torch.tensor(s)})
    assert due == [20, 40]


def test_the_fingerprint_knows_the_network_and_not_where_it_lies(net: str) -> None:
    with torch.random.fork_rng(devices=[]):
        one, same = cs.load(net), cs.load(net)
    assert network_asked(one) == network_asked(same)
    assert network_asked(one) != network_asked(cs.load(one.module, preprocess=one.preprocess, classes=list("abcd")))
    with torch.no_grad():
        next(one.module.parameters()).add_(1)
    assert network_asked(one) != network_asked(same)
    other = cs.load(same.module, classes=same.classes, preprocess=lambda photo: torch.zeros(1, 3, 16, 16))
    assert " at 0x" not in network_asked(other)["preprocess"]


def test_what_is_finished_outlives_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """The results could not be written: hours of work must not go with them."""
    (blocked := Path("blocked")).mkdir()

    def block(work: KeptWork) -> None:
        work.keep("lion", {"values": torch.arange(3.0)})
        write_file(blocked, b"the sheet")

    stopped(block, ConvscopeError)
    assert len(folders()) == 1
    assert capsys.readouterr().err == "the same command with --resume goes on from here\n"


def test_what_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a job in the background of a script has it
    done = []
    run(lambda work: (work.is_due(), press_ctrl_c(), done.append(work.interrupted)))
    assert done == [False]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
