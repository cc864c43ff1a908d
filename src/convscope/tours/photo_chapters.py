"""Chapters on the network in the box and three photos: maps, class pictures, a dream, inversions, a unit off."""

from collections.abc import Iterator

from convscope.tours.chapter import Sheet, Stage, options
from convscope.tours.workshop import CAT, COFFEE, PHOTOS_FOLDER, Workshop
from convscope.wording import percent

MATRIX = ("grad-cam", "guided-backprop", "integrated-gradients", "occlusion")


def _explain(shop: Workshop) -> Iterator[Sheet]:
    from convscope.comparisons.many_photos import compare_photos
    from convscope.comparisons.one_photo import compare_methods, compare_targets

    net, photos = shop.net, shop.photos
    shop.tell("sheets of maps", 0, 3)
    sheet = compare_photos(net, photos, MATRIX)
    answers = [sheet.explanations[f"{name}|{MATRIX[0]}"].target for name in photos]
    yield Sheet(
        "photos-and-methods.png", sheet,
        alt="Three rows, a cat, a cup of coffee and a rocket, each as a photo and as four maps over it or beside it.",
        text=f"The network takes the cat for “{answers[0]}”, the cup for “{answers[1]}” and the rocket for "
        f"“{answers[2]}”, the nearest of the 50 things it knows. The bright patch of Grad-CAM says where the answer "
        "comes from; guided backprop draws which lines; integrated gradients says which pixels, and is grainy by "
        "nature; for occlusion a grey square was moved over the photo, and red or yellow is where the answer suffered.",
        commands=(f"explain {PHOTOS_FOLDER} --matrix --method {','.join(MATRIX)}",),
    )  # fmt: skip
    shop.tell("sheets of maps", 1, 3)
    yield Sheet(
        "every-method.png", compare_methods(net, photos["coffee.png"], shop.pace.methods),
        alt="The photo of a cup of coffee, bars with the five most probable classes, and a map by each method.",
        text="The same cup by every quick method. They do not agree in everything: each asks another question, and "
        "maps that two different methods share are worth more than either. Specks in the gradient maps are no fault of "
        "the drawing; single pixels do matter to a network in ways that look like noise.",
        commands=(f"explain {COFFEE}{options(method=shop.pace.methods)}",),
    )  # fmt: skip
    shop.tell("sheets of maps", 2, 3)
    classes = compare_targets(net, photos["cat.png"], most=3)
    names = [one.target for one in classes.explanations.values()]
    yield Sheet(
        "three-classes.png", classes,
        alt="The photo of a cat, and three heat maps over it, one for each of three classes.",
        text=f"What speaks for {_listed(names)}, the three likeliest answers for the cat, on one scale. Another class "
        "is seen in another place: that is how a network confuses two things.",
        commands=(f"explain {CAT} --method grad-cam --top-classes 3",),
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _classes(shop: Workshop) -> Iterator[Sheet]:
    from convscope.optimised.unit_pictures import visualize

    pace = shop.pace
    made = visualize(shop.net, list(pace.classes), steps=pace.class_steps, on_step=shop.step("pictures of classes"))
    yield Sheet(
        "classes.png", made,
        alt=f"Colourful pictures, one a class: {', '.join(pace.classes)}.",
        text="No photo went into these. Each began as noise and was changed, step by step, until the network was as "
        "sure of its class as it could be. Look for the frog's eyes, the spider's legs, the beetle's "
        "black dots on red: parts, repeated wherever they fit. Colours and places mean little. "
        "Below each: how sure the network is of it, also of the same picture shifted or turned a little, and the "
        "logit, its raw answer, of which the percentage is made.",
        commands=(f"visualize{options(class_=pace.classes, steps=pace.class_steps)}",),
    )  # fmt: skip


def _dream(shop: Workshop) -> Iterator[Sheet]:
    from convscope.optimised.dreams import dream

    pace = shop.pace
    made = dream(
        shop.net, shop.photos["cat.png"], side=pace.dream_side, steps=pace.dream_steps, on_step=shop.step("a dream")
    )
    yield Sheet(
        "cat.png", made,
        alt="A photo of a cat, and beside it the same cat covered in eyes, whorls and scales.",
        text="The cat was changed so that a layer in the middle of the network says more of what it said already. "
        "Eyes, whorls and scales grow where the photo was only a little like them: these are that layer's favourite "
        "patterns. The objective is how strongly the layer answers.",
        commands=(f"dream {CAT}{options(side=pace.dream_side, steps=pace.dream_steps)}",),
    )  # fmt: skip


def _inversion(shop: Workshop) -> Iterator[Sheet]:
    from convscope.answers import seen_by
    from convscope.optimised.inversion_sheets import strip
    from convscope.optimised.inversions import invert

    pace, seen = shop.pace, seen_by(shop.net, shop.photos["cat.png"])
    made = [
        invert(shop.net, seen, layer, steps=pace.inversion_steps, on_step=shop.step(f"inversion of {layer}"))
        for layer in pace.inverted
    ]
    yield Sheet(
        "cat.png", strip(made),
        alt="A photo of a cat in 64 x 64 pixels, then the cat from deeper and deeper layers, paler and more broken "
        "each time, and a curve of the errors.",
        text="Each picture was made anew, from grey, so that one layer answers to it as it does to the photo. Early "
        "layers keep nearly all; deeper ones lose colours and soft shades, and keep eyes, nose and stripes, which is "
        "what they need. The fine grain is the optimisation's, not the cat's.",
        commands=(f"invert {CAT}{options(layer=pace.inverted, steps=pace.inversion_steps)}",),
    )  # fmt: skip


def _unit_off(shop: Workshop) -> Iterator[Sheet]:
    from convscope.views.unit_effects import ablate

    shop.tell("a unit off", 0, 1)
    made = ablate(shop.net, shop.photos["cat.png"], most_important=True)
    (before, was), (after, now) = made.before[0], made.after[0]
    left = dict(made.after).get(before, 0.0)
    said = (
        f"“{before}” stays first, with {percent(left)}"
        if before == after
        else f"“{before}” falls to {percent(left)} and “{after}” is first with {percent(now)}"
    )
    yield Sheet(
        "cat.png", made,
        alt="The photo of a cat, where on it one unit is active, and bars of the most probable classes before "
        "and after.",
        text=f"Of all units of the last convolution the one that matters most for “{before}” ({percent(was)}) was set "
        f"to zero. Below the photo is where it was active. Without it {said}: much can hang on one unit.",
        commands=(f"ablate {CAT} --most-important",),
    )  # fmt: skip


STAGES = (
    Stage(
        "explain", "Which part of the picture explains the answer?",
        "A network gives a picture a name. These maps say which part of the picture that name comes from, for a cat, a "
        "cup of coffee and a rocket.",
        "They say where, not why: the same patch may count for its fur or for its colour. And they explain the answer "
        "that was given, right or wrong. Guided backprop draws nearly the same lines whatever the class.",
        15, _explain,
    ),
    Stage(
        "classes", "What does the network look for?",
        "Instead of showing the network a picture, let it make one: the picture that it takes for a class with all its "
        "might.",
        "Each is one picture of many that would do: another beginning, another picture. They show what the network "
        "would go by if it could choose, not what it went by in any photo.",
        15, _classes,
    ),
    Stage(
        "dream", "A dream",
        "DeepDream: a photo, changed until a layer sees in it what it likes to see.",
        "It shows what a layer can be made to see, not what it saw: hardly any of this is in the photo.",
        10, _dream,
    ),
    Stage(
        "inversion", "What is kept, and what is thrown away?",
        "From layer to layer a network forgets what it does not need. Making pictures back from its numbers shows "
        "what is left.",
        "What is lost in a picture need not be lost in the layer: the search may not have found it. How far it came is "
        "the error in the curve.",
        10, _inversion,
    ),
    Stage(
        "unit-off", "What if one unit is switched off?",
        "A network's layer is made of units, each with a pattern of its own. Take one away and ask again.",
        "This is one photo, for another it may be another unit. Nor does it make this unit a detector of cats: it may "
        "serve many classes.",
        3, _unit_off,
    ),
)  # fmt: skip
