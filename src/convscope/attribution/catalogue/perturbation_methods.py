"""Methods that change the picture and look what the score does."""

from convscope.attribution.method import Method
from convscope.attribution.random_masks import rise
from convscope.attribution.sliding_occlusion import occlusion

PERTURBATION_METHODS = (
    Method(
        name="occlusion",
        function=occlusion,
        output="pixel map",
        needs_layer=False,
        signed=True,
        look="heat",
        claim="What the score loses when a square is covered.",
        limits=(
            "Depends on the square's size and colour; a covered image is unlike any that the network was trained on."
        ),
        zero="no covered square changes the score",
        source="Zeiler & Fergus 2014",
    ),
    Method(
        name="rise",
        function=rise,
        output="pixel map",
        needs_layer=False,
        signed=False,
        look="heat",
        claim="The class's mean probability while a pixel shows and half of the picture is hidden at random.",
        limits=(
            "Noisy: two seeds on the bundled network correlate by 0.65 to 0.88 at 1,000 masks and by 0.83 to 0.95 at "
            "4,000; faint blotches, off the object too, are chance, so try another seed. No finer than a cell, a "
            "seventh of the picture. Half a picture in fog is unlike any that the network was trained on."
        ),
        zero="the score is 0 under every mask",
        source="Petsiuk et al. 2018",
        slow=True,
        floor="lowest",  # the mean score under any mask
    ),
)
