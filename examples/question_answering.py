"""Where did the network look to answer this question? ``python examples/question_answering.py --out pictures``

A network with two inputs, a picture and a question ("what colour is the star"), trained here in half a minute on one
core, and then explained: Grad-CAM of the answer that it gave, with respect to the picture. The call is the same as for
a classifier; the inputs are a tuple, and ``wrt`` says which of them is the image:

    heat = grad_cam(model, (image, question), target=answer, layer="seen", wrt=0)          # (b, h, w)

One picture has as many maps as it has questions. Whether a map is right can be checked, since the pictures are made:
its maximum must lie on the thing that was asked about, and move to another thing when another question is asked.

The architecture decides whether there is anything to see. A network that first pools the picture to a vector, and only
then reads the question, computes the same maps whatever is asked; the question could at most weigh them. Here it
acts before the pooling: it scales and shifts every channel of the maps (FiLM, Perez et al. 2018, arXiv:1709.07871),
and what comes of that says where to read the answer off:

    maps   = ReLU( (1 + gamma(question)) eyes(image) + beta(question) )           (b, c, h, w)
    seen   = softmax over places( attend(look(maps)) ) * look(maps)               the layer that is explained
    logits = answer( sum over places of seen )

What lies above ``seen`` is linear, so that the signed map (``relu=False``) adds up to the logit, less its bias: nothing
is left out. What happened below, in FiLM and in the eyes, this map does not tell; occlusion, on another sheet, asks
the whole network.
"""

import argparse
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from scenes import COLOURS, SHAPES, Scene, Thing, as_input, convolution, enlarged, eyes, heat_tile, make_scenes, peak_of
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.attribution import grad_cam, integrated_gradients, occlusion
from convscope.render.sheet import matrix, sheet
from convscope.render.tile import Tile

COUNTS = (1, 2, 3)
WORDS = ["", "what", "colour", "is", "the", "shape", "how", "many", "shapes", "are", "there", *COLOURS, *SHAPES]
ANSWERS = [*COLOURS, *SHAPES, *map(str, COUNTS)]
LENGTH = 5  # words of the longest question; shorter ones end in ""


@dataclass(frozen=True)
class Question:
    """A question about a picture, its true answer, and the thing that it is about (None: all of them)."""

    text: str
    answer: str
    about: Thing | None = None


def questions(scene: Scene) -> list[Question]:
    """All that can be asked about a scene."""
    asked = [Question("how many shapes are there", str(len(scene.things)))]
    for thing in scene.things:
        asked.append(Question(f"what colour is the {thing.shape}", thing.colour, thing))
        asked.append(Question(f"what shape is {thing.colour}", thing.shape, thing))
    return asked


def tokens(asked: Sequence[Question]) -> Tensor:
    """(b, 5) numbers of words."""
    words = [(question.text.split() + [""] * LENGTH)[:LENGTH] for question in asked]
    return torch.tensor([[WORDS.index(word) for word in each] for each in words])


def answers(asked: Sequence[Question]) -> Tensor:
    """(b,) numbers of the true answers."""
    return torch.tensor([ANSWERS.index(question.answer) for question in asked])


class Answerer(nn.Module):
    """(b, 3, 64, 64) pictures and (b, 5) words to (b, answers) logits."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.eyes = eyes(channels)
        self.words = nn.Embedding(len(WORDS), 24)
        self.read = nn.Sequential(nn.Linear(LENGTH * 24, 64), nn.ReLU(), nn.Linear(64, 2 * channels))
        self.look = nn.Sequential(*convolution(channels, channels))
        self.attend = nn.Conv2d(channels, 1, 1)
        self.seen = nn.Identity()  # does nothing: a name for the layer to explain
        self.answer = nn.Linear(channels, len(ANSWERS))

    def forward(self, image: Tensor, question: Tensor) -> Tensor:
        return self.reply(self.eyes(image), question)

    def reply(self, maps: Tensor, question: Tensor) -> Tensor:
        """What is answered, given what the eyes saw."""
        gamma, beta = self.read(self.words(question).flatten(1))[:, :, None, None].chunk(2, dim=1)
        features = self.look(F.relu((1 + gamma) * maps + beta))
        attention = self.attend(features).flatten(2).softmax(2).unflatten(2, features.shape[2:])
        attention = F.dropout(attention, 0.1, self.training)  # not one place only: all of a thing must show what it is
        return self.answer(self.seen(attention * features).sum((2, 3)))


def train(scenes: Sequence[Scene], steps: int = 1000, batch: int = 32) -> Answerer:
    """Two random questions about each of a batch of random scenes; the same scenes give the same network."""
    torch.manual_seed(0)
    model, images, dice = Answerer(), as_input(scenes), random.Random(0)
    asked = [questions(scene) for scene in scenes]
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for step in range(1, steps + 1):
        drawn = dice.sample(range(len(scenes)), batch)
        two_each = [question for i in drawn for question in dice.choices(asked[i], k=2)]
        maps = model.eyes(images[drawn]).repeat_interleave(2, dim=0)  # looked at once, asked twice
        loss = F.cross_entropy(model.reply(maps, tokens(two_each)), answers(two_each))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.3f}")
    return model.eval()


@dataclass(frozen=True, eq=False)
class Reply:
    """What the network answered to a question about a scene, and the Grad-CAM (h, w) of that answer."""

    scene: Scene
    question: Question
    answer: str
    probability: float
    heat: Tensor

    @property
    def right(self) -> bool:
        return self.answer == self.question.answer

    @property
    def points(self) -> bool:
        """Whether the map's maximum lies on the thing that was asked about."""
        return self.question.about is not None and self.question.about.covers(peak_of(self.heat))


def ask(model: Answerer, scene: Scene, asked: Sequence[Question]) -> list[Reply]:
    """Each question is answered, and its answer explained: two inputs, of which the first (wrt=0) is the image."""
    inputs = as_input([scene] * len(asked)), tokens(asked)
    with torch.no_grad():
        best = model(*inputs).softmax(1).max(1)
    heats = grad_cam(model, inputs, target=best.indices, layer="seen", wrt=0)
    found = zip(asked, best.indices.tolist(), best.values.tolist(), heats, strict=True)
    return [Reply(scene, question, ANSWERS[i], p, heat) for question, i, p, heat in found]


def ask_all(model: Answerer, scenes: Sequence[Scene]) -> list[Reply]:
    return [reply for scene in scenes for reply in ask(model, scene, questions(scene))]


def best_guess(replies: Sequence[Reply], known: Callable[[Reply], object]) -> float:
    """The share of right answers of somebody who knows only that, and says what is right most often."""
    truths: defaultdict[object, Counter[str]] = defaultdict(Counter)
    for reply in replies:
        truths[known(reply)][reply.question.answer] += 1
    return sum(max(counter.values()) for counter in truths.values()) / len(replies)


def share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def report(replies: Sequence[Reply]) -> str:
    blind, deaf = best_guess(replies, lambda r: r.question.text), best_guess(replies, lambda r: id(r.scene))
    pointed = share([r.points for r in replies if r.question.about and len(r.scene.things) > 1])
    return (
        f"{share([r.right for r in replies]):.1%} of {len(replies)} answers about new pictures are right; a guess from "
        f"the question alone is in {blind:.1%}, one from the picture alone in {deaf:.1%} of them.\n"
        f"Grad-CAM peaks on the thing that was asked about, among several, in {pointed:.1%}."
    )


def answers_sheet(model: Answerer, scenes: Sequence[Scene]) -> Image.Image:
    """A row a scene: the picture, then what was asked, what was answered, and where the answer lay."""
    rows = []
    for scene in scenes:
        one, other = scene.things[:2]
        about = f"what colour is the {one.shape}", f"what colour is the {other.shape}", f"what shape is {one.colour}"
        asked = [q for text in (*about, "how many shapes are there") for q in questions(scene) if q.text == text]
        rows.append([Tile(enlarged(scene.picture)), *(answer_tile(reply) for reply in ask(model, scene, asked))])
    return matrix(
        rows,
        title="One picture, several questions",
        subtitle="Grad-CAM of the answer that the network gave, at the layer `seen`. White squares: the things that "
        "the question is about.",
        tile_width=190,
    )


def answer_tile(reply: Reply) -> Tile:
    things = [reply.question.about] if reply.question.about else reply.scene.things
    verdict = "" if reply.right else f" (truth: {reply.question.answer})"
    note = f"{reply.answer}, {reply.probability:.0%}{verdict}"
    return heat_tile(enlarged(reply.scene.picture, things), reply.heat, caption=f"{reply.question.text}?", note=note)


def mistakes_sheet(replies: Sequence[Reply]) -> Image.Image:
    """Wrong answers; the map often lies on the thing that was mistaken for the one asked about."""
    wrong = [answer_tile(reply) for reply in replies if not reply.right]
    said = "White squares: what the question was about. Where the map lies elsewhere, another thing was taken for it."
    return sheet(wrong[:10], columns=5, title="Wrong answers, and where they came from", subtitle=said, tile_width=190)


def methods_sheet(model: Answerer, scene: Scene) -> Image.Image:
    """Other methods take the two inputs in the same way."""
    asked, rows = [q for q in questions(scene) if q.text.startswith("what colour")], []
    for question in asked:
        inputs, answer = (as_input([scene]), tokens([question])), ANSWERS.index(question.answer)
        heats = (
            grad_cam(model, inputs, target=answer, layer="seen", wrt=0),
            occlusion(model, inputs, target=answer, size=12, stride=4, wrt=0),
            integrated_gradients(model, inputs, target=answer, wrt=0).sum(1),  # over the three colours of a pixel
        )
        rows.append([heat_tile(enlarged(scene.picture, [question.about]), heat[0]) for heat in heats])
    return matrix(
        rows,
        row_headings=[f"{question.text}? {question.answer}" for question in asked],
        column_headings=["Grad-CAM", "occlusion", "integrated gradients"],
        title="One picture, three methods",
        tile_width=220,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder of the sheets")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print("2,000 pictures are made, and the network is trained on questions about them")
    model = train(make_scenes(2000, seed=0, things=COUNTS))
    print(f"  {time.perf_counter() - start:.0f} s")
    new = make_scenes(200, seed=1, things=COUNTS)
    replies = ask_all(model, new)
    print(report(replies))
    crowded = [scene for scene in new if len(scene.things) == 3]
    sheets = {
        "question_answering.png": answers_sheet(model, crowded[:4]),
        "question_answering.mistakes.png": mistakes_sheet(replies),
        "question_answering.methods.png": methods_sheet(model, crowded[0]),
    }
    for name, drawn in sheets.items():
        drawn.save(out / name)
        print(f"{out / name} is written")


if __name__ == "__main__":
    main()
