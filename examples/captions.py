"""Which part of the picture made the network say this word? ``python examples/captions.py --out pictures``

A network that describes pictures of two things in a sentence, "a red circle above a blue square", trained here in half
a minute on one core. It says one word after the other: given the picture and the words so far, a probability for each
word of its vocabulary, so that with teacher forcing (the words so far are those of the sentence asked about)

    model(image, words) -> (b, places in the sentence, vocabulary)
    log P(sentence | image) = sum over t of log P(word t | image, words before t).

That is no table of classes; but whatever turns the output into one number an image can be explained. Here it is the
log-probability of one word, then of the whole sentence:

    grad_cam(model, (image, words), target=lambda out: out.log_softmax(-1)[:, 2, CIRCLE], layer="what")
    grad_cam(model, (image, words), target=sentence_log_probability, layer="what")

The map of "red" and "circle" must lie on the first thing, that of "blue" and "square" on the second: the pictures are
made, so this can be counted. And since Grad-CAM is linear in its score before its ReLU, the signed maps of the words
(``relu=False``) add up to the signed map of the sentence.

Pitfalls. The gradient of log p falls with 1 - p: a network that is all but certain of a word has an all but empty map
of it. Label smoothing keeps it from certainty; still, each map has its own scale, and the numbers at its ends say how
much it counts in the sentence. Grad-CAM gives a map for "a" and "beside" as well, which are about nothing, or about
both things.
The explained layer ``what`` feeds the words through an attention, which is not
explained: the map says what there is that speaks for "red", wherever the network then looked for it.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from scenes import COLOURS, SHAPES, Scene, Thing, as_input, convolution, enlarged, eyes, heat_tile, make_scenes, peak_of
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.attribution import grad_cam
from convscope.render.sheet import matrix
from convscope.render.tile import Tile

WORDS = ["<start>", "a", "above", "beside", *COLOURS, *SHAPES]
LENGTH = 7  # a red circle above a blue square


def first_and_second(scene: Scene) -> tuple[Thing, Thing, str]:
    """The upper thing, the lower, and "above"; the left one, the right, and "beside" where they lie rather in a row."""
    one, other = scene.things
    if abs(one.y - other.y) > abs(one.x - other.x):
        return (one, other, "above") if one.y < other.y else (other, one, "above")
    return (one, other, "beside") if one.x < other.x else (other, one, "beside")


def true_caption(scene: Scene) -> list[str]:
    first, second, relation = first_and_second(scene)
    return ["a", first.colour, first.shape, relation, "a", second.colour, second.shape]


def numbers(captions: Sequence[Sequence[str]]) -> Tensor:
    """(b, 7) numbers of words."""
    return torch.tensor([[WORDS.index(word) for word in caption] for caption in captions])


class Captioner(nn.Module):
    """(b, 3, 64, 64) pictures and (b, 7) words to (b, 7, vocabulary) logits, each given the words before it."""

    def __init__(self, channels: int = 32, states: int = 96) -> None:
        super().__init__()
        self.eyes = eyes(channels)
        self.what = nn.Sequential(*convolution(channels, channels))  # what is seen at each place
        self.where = nn.Conv2d(channels, channels, 1)  # and what makes the network look there
        self.place = nn.Parameter(0.1 * torch.randn(channels, 16, 16))
        self.overview = nn.Linear(16 * channels, states)
        self.words = nn.Embedding(len(WORDS), 24)
        self.speak = nn.GRU(24, states, batch_first=True)
        self.ask = nn.Linear(states, channels)
        self.say = nn.Linear(states, len(WORDS))
        self.name = nn.Linear(channels, len(WORDS), bias=False)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        maps = self.eyes(image)
        overview = self.overview(F.adaptive_avg_pool2d(maps, 4).flatten(1))
        before = F.pad(words[:, :-1], (1, 0))  # word 0 is <start>
        states, _ = self.speak(self.words(before), overview[None])
        keys = (self.where(maps) + self.place).flatten(2)
        attention = (self.ask(states) @ keys / keys.shape[1] ** 0.5).softmax(2)  # (b, words, places)
        attention = F.dropout(attention, 0.2, self.training)  # not one place only: all of a thing must show what it is
        looked_at = attention @ self.what(maps).flatten(2).transpose(1, 2)  # (b, words, channels)
        return self.say(states) + self.name(looked_at)

    @torch.no_grad()
    def describe(self, images: Tensor) -> Tensor:
        """(b, 7) words: the most probable next one each time."""
        words = torch.zeros(len(images), LENGTH, dtype=torch.long)
        for place in range(LENGTH):
            words[:, place] = self(images, words)[:, place].argmax(1)
        return words


def train(scenes: Sequence[Scene], steps: int = 700, batch: int = 32) -> Captioner:
    """A one-cycle learning rate; the same scenes give the same network."""
    torch.manual_seed(0)
    model, images, words = Captioner(), as_input(scenes), numbers([true_caption(scene) for scene in scenes])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.15)
    for step in range(1, steps + 1):
        drawn = torch.randint(len(scenes), (batch,))
        logits = model(images[drawn], words[drawn])
        loss = F.cross_entropy(logits.flatten(0, 1), words[drawn].flatten(), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 100 == 0:
            print(f"  step {step}: loss {loss.item():.3f}")
    return model.eval()


def word_log_probability(place: int, words: Tensor) -> Callable[[Tensor], Tensor]:
    """A target: the network's output to log P(word at ``place`` | image, words before it), (b,)."""
    return lambda out: out.log_softmax(-1)[:, place].gather(1, words[:, place, None])[:, 0]


def sentence_log_probability(words: Tensor) -> Callable[[Tensor], Tensor]:
    """A target: the network's output to log P(sentence | image), (b,)."""
    return lambda out: out.log_softmax(-1).gather(2, words[..., None]).sum((1, 2))


def explain_words(model: Captioner, images: Tensor, words: Tensor) -> list[Tensor]:
    """Grad-CAM (b, h, w) of each word of the sentence in turn."""
    targets = [word_log_probability(place, words) for place in range(LENGTH)]
    return [grad_cam(model, (images, words), target=target, layer="what", wrt=0) for target in targets]


def explain_sentence(model: Captioner, images: Tensor, words: Tensor) -> Tensor:
    """Grad-CAM (b, h, w) of the whole sentence."""
    return grad_cam(model, (images, words), target=sentence_log_probability(words), layer="what", wrt=0)


def pointing(model: Captioner, scenes: Sequence[Scene]) -> dict[str, float]:
    """How often the map of a word of the true caption peaks on the thing that the word is about."""
    images, words = as_input(scenes), numbers([true_caption(scene) for scene in scenes])
    heats = explain_words(model, images, words)
    places = {"first colour": (1, 0), "first shape": (2, 0), "second colour": (5, 1), "second shape": (6, 1)}
    found = {}
    for name, (place, which) in places.items():
        hits = [first_and_second(s)[which].covers(peak_of(h)) for s, h in zip(scenes, heats[place], strict=True)]
        found[name] = sum(hits) / len(hits)
    return found


def captions_sheet(model: Captioner, scenes: Sequence[Scene]) -> Image.Image:
    """A row a scene: the picture, the map of each word that the network said about it, the map of the sentence."""
    images = as_input(scenes)
    words = model.describe(images)
    with torch.no_grad():
        probability = model(images, words).softmax(-1).gather(2, words[..., None])[..., 0]
    heats, wholes = explain_words(model, images, words), explain_sentence(model, images, words)
    rows = []
    for i, scene in enumerate(scenes):
        said, picture = [WORDS[word] for word in words[i]], enlarged(scene.picture)
        verdict = "it says" if said == true_caption(scene) else "it says, wrongly"
        notes = [f"{p:.0%}" for p in [*probability[i], probability[i].prod()]]
        maps = zip([*said, "the sentence"], notes, [*heats, wholes], strict=True)
        tiles = [heat_tile(picture, heat[i], caption=word, note=note) for word, note, heat in maps]
        rows.append([Tile(picture, verdict, " ".join(said)), *tiles])
    return matrix(
        rows,
        title="Which part of the picture made it say this word?",
        subtitle="Grad-CAM of the log-probability of each word, given the words before it, and of the whole sentence. "
        "In grey: the probability. Each map has its own scale.",
        tile_width=150,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder of the sheet")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print("2,000 pictures are made, and the network learns to describe them")
    model = train(make_scenes(2000, seed=0, things=[2]))
    print(f"  {time.perf_counter() - start:.0f} s")
    new = make_scenes(200, seed=1, things=[2])
    right = model.describe(as_input(new)).eq(numbers([true_caption(scene) for scene in new])).all(1)
    print(f"{right.float().mean():.1%} of {len(new)} sentences about new pictures are right in every word")
    for name, hits in pointing(model, new).items():
        print(f"the map of the {name} peaks on its thing in {hits:.1%}")
    captions_sheet(model, new[:5]).save(out / "captions.png")
    print(f"{out / 'captions.png'} is written")


if __name__ == "__main__":
    main()
