"""Methods that change the picture and look what the score does."""

from convscope.attribution.method import Method
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
)
