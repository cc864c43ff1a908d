"""What does a network for digits look for, and what does it draw when asked for two digits at once?
``python examples/digits.py --out pictures``

A small network of three convolutions (9, 9 and 16 maps of 5 x 5, 5 x 5 and 3 x 3, each with a ReLU and a max-pooling)
and two dense layers (25 and 10) learns scikit-learn's 1,797 handwritten digits, enlarged from 8 to 28 pixels, in half a
minute on one core. Then its ten outputs are maximised

    x* = argmax_x z_digit(x) - tv * TV(x),    TV(x) = sum (dx^2 + dy^2)^(1/2) / pixels

with tv from 0.125 (grain) over 4 (strokes) to 16 (the few that matter most), and two outputs at once, z_4 + z_9. White
is where ink speaks for the digit, black where ink speaks against it, grey where it does not matter: the hole of a 0 is
as much a part of it as its stroke.

Shapes that are alike merge: a 4 that is closed at the top is read as something of a 9. A 0 and a 1 do not: one needs
ink where the other must have none, and one of them wins; which one, the random start says. The figure for it is what
the lesser of the two logits reaches, of what it reaches alone.

The network is trained on pictures that are each changed by up to EPSILON a pixel in the direction that hurts most
(Goodfellow et al. 2015, arXiv:1412.6572, in the manner of Wong et al. 2020, arXiv:2001.03994). Without that it is
right a little more often, but what maximises its outputs are hardly digits: set EPSILON to 0 and see. So these
pictures show what this network has learnt, not what any network must.

Its own file is all that the command line needs:

    convscope visualize --model examples/digits.py:network --weights pictures/digits.safetensors --class 0-9 \\
        --image pixels --noise 0.05 --tv-beta 1 --steps 256 --tv 0.125,0.25,0.5,1,2,4,8,16

and the same with ``--both 4 9 --both 1 7 --both 7 8 --both 0 1 --tv 4`` in place of ``--class`` and ``--tv``.
"""

import argparse
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.network.loading import Network
from convscope.optimised.picture_pairs import Both, both
from convscope.optimised.picture_sweeps import Sweep, sweep
from convscope.synthesis.recipes import Recipe

# what convscope reads of this file: how pixels become the network's input, and what its outputs are called
SIZE, MEAN, STD = 28, (0.5,), (0.5,)
CLASSES = [str(digit) for digit in range(10)]

EPSILON = 0.2  # of values in [0, 1]
WEIGHTS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
# pixel by pixel; moves of 2 pixels and 10 degrees make strokes of what would be grain
RECIPE = Recipe(image="pixels", jitter=14, rotate=10, scale=(0.9, 1.1), noise=0.05, tv_beta=1)
STARTS = 4  # random ones, for the figures
PAIRS = (("4", "9"), ("1", "7"), ("7", "8"), ("0", "1"))


def network() -> nn.Module:
    """(b, 1, 28, 28) to ten logits; untrained."""
    layers = [
        ("conv1", nn.Conv2d(1, 9, 5)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),  # 12 x 12
        ("conv2", nn.Conv2d(9, 9, 5)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),  # 4 x 4
        ("conv3", nn.Conv2d(9, 16, 3)),
        ("relu3", nn.ReLU()),
        ("pool3", nn.MaxPool2d(2)),  # 1 x 1
        ("flat", nn.Flatten()),
        ("dense1", nn.Linear(16, 25)),
        ("relu4", nn.ReLU()),
        ("dense2", nn.Linear(25, 10)),
    ]
    return nn.Sequential(OrderedDict(layers))


def read_digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images in [0, 1], white ink on black, and labels) to learn, and a quarter that is held out."""
    data = load_digits()
    small = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(small, size=SIZE, mode="bicubic", align_corners=False).clamp(0, 1)
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    kept, held_out = order[len(order) // 4 :], order[: len(order) // 4]
    return (images[kept], labels[kept]), (images[held_out], labels[held_out])


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Of pictures in [0, 1]."""
    return model((images - MEAN[0]) / STD[0])


def moved(images: Tensor) -> Tensor:
    """Each turned by up to 6 degrees, enlarged or reduced by up to 6 %, shifted by up to a pixel; black beyond."""
    turn, zoom, y, x = (2 * torch.rand(4, len(images)) - 1) * torch.tensor([0.1, 0.06, 2 / SIZE, 2 / SIZE])[:, None]
    cos, sin = turn.cos() * (1 + zoom), turn.sin() * (1 + zoom)
    ways = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    grid = F.affine_grid(ways, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def hurt(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """The images, changed by up to epsilon a pixel from a random start towards the larger loss."""
    change = ((2 * torch.rand(images.shape) - 1) * epsilon).requires_grad_()
    loss = F.cross_entropy(logits(model, (images + change).clamp(0, 1)), labels)
    slope = torch.autograd.grad(loss, change)[0].sign()
    change = (change.detach() + 1.25 * epsilon * slope).clamp(-epsilon, epsilon)  # 1.25: Wong et al. 2020
    return (images + change).clamp(0, 1)


def train(images: Tensor, labels: Tensor, steps: int = 1500, batch: int = 64, rate: float = 5e-3) -> nn.Module:
    """Small moves, harm that grows to EPSILON, a one-cycle learning rate; the same digits give the same network."""
    torch.manual_seed(0)
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for step in range(1, steps + 1):
        drawn = torch.randint(len(images), (batch,))
        seen = hurt(model, moved(images[drawn]), labels[drawn], EPSILON * min(1.0, 2 * step / steps))
        loss = F.cross_entropy(logits(model, seen), labels[drawn], label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
        if step % 200 == 0:
            print(f"  step {step}: loss {loss.item():.3f}")
    return model.eval()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return logits(model, images).argmax(1).eq(labels).float().mean().item()


def loaded(model: nn.Module) -> Network:
    """As ``--model examples/digits.py:network`` does it."""
    return cs.load(model, classes=CLASSES, size=SIZE, mean=MEAN, std=STD)


def swept(net: Network, weights: Sequence[float] = WEIGHTS, steps: int = 256) -> Sweep:
    """Outputs 0 to 9 maximised, a column a weight of the total variation."""
    return sweep(net, CLASSES, "tv", weights, recipe=RECIPE, steps=steps)


def pairs(net: Network, tv: float = 4, steps: int = 256, seed: int = 0) -> Both:
    """Two outputs at once, between each of them alone."""
    return both(net, list(PAIRS), recipe=RECIPE, tv=tv, steps=steps, seed=seed)


def shares(made: Both) -> dict[tuple[str, str], tuple[float, float]]:
    """Of what each digit's logit reaches alone, how much it reaches in the picture of both."""
    alone = dict(zip(made.made.names, made.made.scores.tolist(), strict=True))
    return {
        (a, b): (reading[0].score / alone[a], reading[1].score / alone[b])
        for (a, b), reading in zip(made.pairs, made.readings, strict=True)
        if reading is not None
    }


def lesser_shares(made: Sequence[Both]) -> dict[tuple[str, str], list[float]]:
    """Of each pair, what the one that got less out of it reaches, start by start: near 0, the other one won."""
    found = [shares(one) for one in made]
    return {pair: [min(each[pair]) for each in found] for pair in PAIRS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder of the weights and the sheets")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print("the network learns 1,348 digits")
    learnt, held_out = read_digits()
    model = train(*learnt)
    print(f"  {time.perf_counter() - start:.0f} s")
    print(f"{accuracy(model, *held_out):.1%} of {len(held_out[1])} held-out digits are right")
    save_file(model.state_dict(), out / "digits.safetensors")
    net = loaded(model)
    swept(net).save(out / "digits_tv.png")
    made = [pairs(net, seed=seed) for seed in range(STARTS)]
    made[0].save(out / "digits_pairs.png")
    for (a, b), lesser in lesser_shares(made).items():
        mean = sum(lesser) / len(lesser)
        every = ", ".join(f"{share:.0%}" for share in lesser)
        print(f"{a} & {b} at once: of its logit alone, the lesser of the two reaches {mean:.0%} ({every})")
    print(f"{out / 'digits_tv.png'}, {out / 'digits_pairs.png'} and {out / 'digits.safetensors'} are written")


if __name__ == "__main__":
    main()
