"""The network hears the question, and its maps move with it: counted on pictures whose truth is known."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from convscope.attribution import grad_cam, occlusion
from tests.examples.conftest import script

qa = script("question_answering")


@pytest.fixture(scope="module")
def scenes() -> list:
    return qa.make_scenes(150, seed=5, things=qa.COUNTS)


@pytest.fixture(scope="module")
def replies(answerer: nn.Module, scenes: list) -> list:
    return qa.ask_all(answerer, scenes)


def test_neither_input_alone_answers(answerer: nn.Module, replies: list) -> None:
    """Best possible guesses from one input, and the network itself with the other input replaced."""
    right = qa.share([reply.right for reply in replies])
    blind = qa.best_guess(replies, lambda reply: reply.question.text)
    deaf = qa.best_guess(replies, lambda reply: id(reply.scene))
    assert right > 0.9
    assert blind < 0.4
    assert deaf < 0.4
    images = qa.as_input([reply.scene for reply in replies])
    asked, truth = qa.tokens([r.question for r in replies]), qa.answers([r.question for r in replies])
    with torch.no_grad():
        other_picture = (answerer(images.roll(97, 0), asked).argmax(1) == truth).float().mean()
        other_question = (answerer(images, asked.roll(97, 0)).argmax(1) == truth).float().mean()
    assert other_picture < 0.5
    assert other_question < 0.4


def test_the_map_peaks_on_the_thing_asked_about(replies: list) -> None:
    """The pictures' own truth; the map of another question about the same picture must miss."""
    several = [reply for reply in replies if reply.question.about and len(reply.scene.things) > 1]
    assert qa.share([reply.points for reply in several]) > 0.9
    others = [thing for r in several for thing in r.scene.things if thing is not r.question.about]
    beside = [r for r in several for thing in r.scene.things if thing is not r.question.about]
    missed = [thing.covers(qa.peak_of(r.heat)) for thing, r in zip(others, beside, strict=True)]
    assert qa.share(missed) < 0.12


def test_two_questions_about_one_picture_point_to_two_things(answerer: nn.Module, scenes: list) -> None:
    """Both colour questions at once, each of a picture's things in turn, in four scenes of five."""
    both = []
    for scene in [s for s in scenes if len(s.things) > 1]:
        asked = [q for q in qa.questions(scene) if q.text.startswith("what colour")][:2]
        both.append(all(reply.points for reply in qa.ask(answerer, scene, asked)))
    assert qa.share(both) > 0.8


def test_the_signed_map_adds_up_to_the_logit(answerer: nn.Module, replies: list) -> None:
    """Closed form: above the explained layer there is a sum over places and one linear layer."""
    some = replies[:40]
    inputs = qa.as_input([r.scene for r in some]), qa.tokens([r.question for r in some])
    target = qa.answers([r.question for r in some])
    total = grad_cam(answerer, inputs, target=target, layer="seen", relu=False).sum((1, 2))
    with torch.no_grad():
        logits = answerer(*inputs)[torch.arange(len(some)), target] - answerer.answer.bias[target]
    assert torch.allclose(total, logits, rtol=1e-4, atol=1e-4)


def test_occlusion_finds_the_same_thing(answerer: nn.Module, scenes: list) -> None:
    """A method that knows nothing of layers: what loses the answer when covered is what was asked about."""
    hits = []
    for scene in [s for s in scenes if len(s.things) == 3][:12]:
        question = qa.questions(scene)[1]
        inputs = qa.as_input([scene]), qa.tokens([question])
        drop = occlusion(answerer, inputs, target=qa.ANSWERS.index(question.answer), size=12, stride=4, wrt=0)[0]
        hits.append(question.about.covers(qa.peak_of(drop)))
    assert qa.share(hits) > 0.75


@pytest.mark.global_rng
def test_the_same_scenes_give_the_same_network() -> None:
    """Bit for bit, whatever torch's random state was."""
    few = qa.make_scenes(40, seed=3, things=qa.COUNTS)
    first = qa.train(few, steps=2)
    torch.rand(7)
    second = qa.train(qa.make_scenes(40, seed=3, things=qa.COUNTS), steps=2)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_script_says_what_it_found(
    answerer: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Run as a user does, less the training: its sheets can be opened, its numbers are those of the functions."""
    monkeypatch.setattr(qa, "train", lambda _: answerer)
    monkeypatch.setattr(sys, "argv", ["question_answering.py", "--out", str(tmp_path / "new")])
    qa.main()
    assert qa.report(qa.ask_all(answerer, qa.make_scenes(200, seed=1, things=qa.COUNTS))) in capsys.readouterr().out
    for name in ("question_answering.png", "question_answering.mistakes.png", "question_answering.methods.png"):
        with Image.open(tmp_path / "new" / name) as sheet:
            assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000
