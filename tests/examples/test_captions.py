"""Words and sentences as targets: counted on pictures whose truth is known, and against the rules of probability."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from convscope.attribution import grad_cam
from tests.examples.conftest import script

cap = script("captions")


@pytest.fixture(scope="module")
def scenes() -> list:
    return cap.make_scenes(150, seed=5, things=[2])


def _inputs(scenes: list) -> tuple[torch.Tensor, torch.Tensor]:
    return cap.as_input(scenes), cap.numbers([cap.true_caption(scene) for scene in scenes])


def test_sentences_about_new_pictures_are_right(captioner: nn.Module, scenes: list) -> None:
    """The pictures' own truth, every word of a sentence."""
    images, words = _inputs(scenes)
    assert captioner.describe(images).eq(words).all(1).float().mean() > 0.85


def test_the_map_of_a_word_peaks_on_its_thing(captioner: nn.Module, scenes: list) -> None:
    """The pictures' own truth, and chance beside it: the map of a colour all but never peaks on the other thing."""
    found = cap.pointing(captioner, scenes)
    assert found["first colour"] > 0.9
    assert found["second colour"] > 0.9
    assert found["first shape"] > 0.7
    assert found["second shape"] > 0.7
    heats = cap.explain_words(captioner, *_inputs(scenes))
    for place, other in ((1, 1), (5, 0)):
        things = [cap.first_and_second(scene)[other] for scene in scenes]
        hits = [thing.covers(cap.peak_of(heat)) for thing, heat in zip(things, heats[place], strict=True)]
        assert sum(hits) / len(hits) < 0.1


def test_the_signed_maps_of_the_words_add_up_to_that_of_the_sentence(captioner: nn.Module, scenes: list) -> None:
    """Closed form: Grad-CAM without its ReLU is linear in the score, and log-probabilities add."""
    images, words = _inputs(scenes[:20])
    sentence = cap.sentence_log_probability(words)
    options = {"layer": "what", "relu": False, "wrt": 0}
    whole = grad_cam(captioner, (images, words), target=sentence, **options)
    targets = [cap.word_log_probability(place, words) for place in range(cap.LENGTH)]
    parts = [grad_cam(captioner, (images, words), target=target, **options) for target in targets]
    assert torch.allclose(torch.stack(parts).sum(0), whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_the_targets_are_the_log_probabilities_of_saying_it_word_by_word(captioner: nn.Module, scenes: list) -> None:
    """A slow loop that shows the network no word but those before: teacher forcing must not let it peep."""
    images, words = _inputs(scenes[:20])
    slow = []
    with torch.no_grad():
        out = captioner(images, words)
        for place in range(cap.LENGTH):
            so_far = words.clone()
            so_far[:, place:] = 0
            probability = captioner(images, so_far)[:, place].softmax(-1)
            slow.append(probability[torch.arange(len(words)), words[:, place]].log())
            assert torch.allclose(cap.word_log_probability(place, words)(out), slow[-1], atol=1e-5)
        assert torch.allclose(cap.sentence_log_probability(words)(out), torch.stack(slow).sum(0), atol=1e-4)


@pytest.mark.global_rng
def test_the_same_scenes_give_the_same_network() -> None:
    """Bit for bit, whatever torch's random state was."""
    first = cap.train(cap.make_scenes(40, seed=3, things=[2]), steps=2)
    torch.rand(7)
    second = cap.train(cap.make_scenes(40, seed=3, things=[2]), steps=2)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_script_says_what_it_found(
    captioner: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Run as a user does, less the training: its sheet can be opened, its numbers are those of the functions."""
    monkeypatch.setattr(cap, "train", lambda _: captioner)
    monkeypatch.setattr(sys, "argv", ["captions.py", "--out", str(tmp_path / "new")])
    cap.main()
    said = capsys.readouterr().out
    for name, hits in cap.pointing(captioner, cap.make_scenes(200, seed=1, things=[2])).items():
        assert f"the map of the {name} peaks on its thing in {hits:.1%}" in said
    with Image.open(tmp_path / "new" / "captions.png") as sheet:
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000
