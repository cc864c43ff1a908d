"""Chapters on a small network that learns written digits here and now: its training, its maps, its pictures."""

from collections.abc import Iterator

from convscope.tours.chapter import Sheet, Stage, options
from convscope.tours.digit_units import UNITS
from convscope.tours.workshop import DIGIT, RUN, RUN_FOLDER, Workshop
from convscope.wording import percent

PAIRS = (("9", "4"), ("1", "7"), ("7", "8"), ("0", "1"))
SWEPT = ("0", "2", "4", "9")
STRENGTHS, STRENGTH = (0.5, 8, 32, 128), 32
FIRST = "relu1"


def _training(shop: Workshop) -> Iterator[Sheet]:
    from convscope.store.run_folder import REPORT
    from convscope.trainings.making import train

    pace = shop.pace
    run = train("digits", pace.digits, shop.run_folder, epochs=pace.epochs, resume=True, on_step=shop.tell)
    report = f"{shop.run_folder.name}/{REPORT}"
    last, held_out = run.history[-1], run.judged_by
    learnt, right = (percent(last.accuracies[part]) for part in ("train", held_out))
    yield Sheet(
        f"{report}/curves.png",
        alt="Two charts with a line for the digits it learns from and one for those it never saw: the loss falls, the "
        "share of right answers rises.",
        text=f"After {last.epoch} rounds it reads {learnt} of the digits that it learns from, and {right} of those "
        "that it never saw. The farther the two lines drift apart, the more it has learnt its digits by heart.",
        commands=(f"train {pace.digits} --net digits{options(epochs=pace.epochs)} --out my/digits.run",),
        more=f"{report}/index.html",
        more_text="the whole report of this training",
    )
    yield Sheet(
        f"{report}/confusion.png",
        alt="Three tables of ten by ten digits, before, during and after training; at the end nearly all counts are on "
        "the diagonal.",
        text="What each digit was called, in the beginning, in the middle and at the end. At first it gives the "
        "same few answers to everything; at the end what is off the diagonal are its last mistakes.",
        commands=(f"training {RUN_FOLDER} --out report",),
    )
    yield Sheet(
        f"{report}/embedding.film.webp",
        still=f"{report}/embedding.png",
        alt="A film: points in ten colours, first in one cloud, drift apart into a group a digit.",
        text="Each point is a digit that the network never learnt from, placed by what its last hidden layer says of "
        "it. The film goes through the training: one cloud becomes ten groups. Who is near whom counts; how far two "
        "groups are apart means little.",
        commands=(f"training {RUN_FOLDER} --out report",),
    )
    yield Sheet(
        f"{report}/filters.png",
        alt="Rows of small grey squares of five by five pixels, a row for each of several epochs.",
        text="The nine filters of the first layer, as they grow. They begin as chance, and so small a filter goes on "
        "looking like it: light beside dark is an edge, and to notice edges is their work.",
        commands=(f"training {RUN_FOLDER} --out report",),
    )


def _layers(shop: Workshop) -> Iterator[Sheet]:
    from convscope.views.every_layer_map import every_layer
    from convscope.views.feature_maps import features

    shop.tell("one digit, layer by layer", 0, 1)
    yield Sheet(
        "every-layer.png", every_layer(shop.digits, DIGIT, "strongest"),
        alt="A written 7, and a row of maps, one a layer, in which it becomes coarser.",
        text="The way of one 7 through the network: of each layer the unit that answers loudest. Convolutions find "
        "patterns, ReLUs keep what is positive, pooling makes the map smaller. At the end nine numbers are left of it.",
        commands=(f"features {DIGIT} --every-layer --strongest {RUN}",),
    )  # fmt: skip
    yield Sheet(
        "first-layer.png", features(shop.digits, DIGIT, FIRST),
        alt="Nine maps of a written 7: in some the ink is lit, in others the paper around it or an edge.",
        text="All nine maps of its first layer, on one scale. Some light up the ink, others the paper around it or an "
        "edge between the two, and several say nearly the same.",
        commands=(f"features {DIGIT} --layer {FIRST} {RUN}",),
    )  # fmt: skip


def _maximised(shop: Workshop) -> Iterator[Sheet]:
    from convscope.optimised.picture_pairs import both
    from convscope.optimised.picture_sweeps import sweep
    from convscope.optimised.unit_pictures import visualize
    from convscope.synthesis.recipes import Recipe

    # pixels, not a natural image: digits have not the contrasts of photos. Twice the usual shifts, and turns of 15
    # degrees: strokes in place of stains
    recipe = Recipe(image="pixels", noise=0.05, tv_beta=1, jitter=28, rotate=15)
    net, steps = shop.digits, shop.pace.digit_steps
    pairs = "".join(f" --both {a} {b}" for a, b in PAIRS)
    strengths = ",".join(f"{value:g}" for value in STRENGTHS)
    ten = visualize(
        net, list(net.classes), recipe=recipe, tv=STRENGTH, steps=steps, on_step=shop.step("pictures of digits")
    )
    how = f"--image pixels --noise 0.05 --tv-beta 1 --jitter 28 --rotate 15 --steps {steps} {RUN}"
    yield Sheet(
        "ten-digits.png", ten,
        alt="Ten blurred black and white pictures in which strokes of digits can be seen.",
        text="The pictures that the network takes for each digit with all its might: white where ink speaks for it, "
        "black where there must be none. Some are digits to our eyes too, some are not, and yet the network is as sure "
        "of them: it learnt what tells ten digits apart, not what a digit is.",
        commands=(f"visualize --class 0-9 --tv {STRENGTH:g} {how}",),
    )  # fmt: skip
    yield Sheet(
        "smoothness.png",
        sweep(net, list(SWEPT), "tv", STRENGTHS, recipe=recipe, steps=steps, on_step=shop.step("smoothness")),
        alt="Four digits in four columns, from left to right smoother and greyer.",
        text="The same, smoother and smoother: TV, total variation, is what a picture pays for every difference "
        "between neighbours. On the left there are stains around the strokes, at 32 hardly any; on the right the "
        "strokes fade too, and only what the network needs most is left. The green “best” is the network's own word: "
        "where it stays surest.",
        commands=(f"visualize --class {','.join(SWEPT)} --tv {strengths} {how}",),
    )  # fmt: skip
    yield Sheet(
        "two-at-once.png", both(net, PAIRS, recipe=recipe, tv=STRENGTH, steps=steps, on_step=shop.step("two at once")),
        alt="Four rows: a digit, a picture of two digits at once, the other digit.",
        text="In the middle, one picture that is to be two digits at once. Below it what each of the two reaches: look "
        "at the logits, the network's raw answers, for the percentages make much of a small lead. Where one wins by "
        "far, it needs ink where the other must have none.",
        commands=(f"visualize{pairs} --tv {STRENGTH:g} {how}",),
    )  # fmt: skip


STAGES = (
    Stage(
        "training", "A network learns to read",
        "A network of three convolutions and two dense layers learns 1,797 digits, written by 13 people, that come "
        "with scikit-learn. A quarter of them is kept back, to see whether it can read what it never saw.",
        "The same 13 people wrote both parts, so a stranger's hand would be read less well. And this is one training: "
        "begun otherwise, it makes other mistakes.",
        60, _training,
    ),
    UNITS,
    Stage(
        "layers", "One digit, layer by layer",
        "What becomes of a picture on its way through the network.",
        "The loudest unit of a layer need not be the one that counts, and another 7 may go another way.",
        3, _layers,
    ),
    Stage(
        "maximised", "What is a digit to this network?",
        "The network is asked for pictures again: of each digit, smoother and smoother, and of two digits at once.",
        "The percentages are the network's own, of pictures such as it never saw in training: being sure is not being "
        "right. Another training draws other pictures.",
        15, _maximised,
    ),
)  # fmt: skip
