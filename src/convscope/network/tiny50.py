"""The bundled network: a plain VGG-like classifier of 50 everyday classes at 64 x 64 pixels and up.

Simonyan & Zisserman 2015 (arXiv:1409.1556) in small: four stages of 3x3 convolutions and ReLUs, a 2x2
max-pooling between them, global average pooling (Lin et al. 2014) and one linear layer. Everything that the
library explains is therefore at home in it: switches for the deconvnet, an exact CAM, receptive fields in
closed form. It is trained with batch norms (``recipes/tiny50.py``), which are folded into the convolutions
before the weights are shipped.
"""

from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256)
CONVOLUTIONS = (2, 2, 2, 2)
# the means and deviations of ImageNet, so that a photo is normalised as for torchvision's models
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 64


class Tiny50(nn.Module):
    """Stages of convolutions, then the mean over the map, then one linear layer.

    Input ``(b, 3, h, w)`` with h and w at least 8 pixels, normalised with ``MEAN`` and ``STD``; output
    ``(b, classes)`` logits. ``batch_norm=True`` is the form that is trained, ``False`` the form that is shipped.
    """

    def __init__(self, classes: int = 50, *, batch_norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS, strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                layers.append(nn.Conv2d(inputs, width, 3, padding=1, bias=not batch_norm))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU())
                inputs = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, 3, h, w)`` -> ``(b, classes)`` logits."""
        return self.classifier(self.pool(self.features(x)).flatten(1))
