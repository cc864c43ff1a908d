import torch

import convscope as cs
from convscope.attribution import grad_cam, gradient

net = cs.load()
model, x = net.module, net.input_of(cs.read_image("coffee.png"))

cs.explain(net, "coffee.png", target="Espresso")  # a class by its name
cs.explain(net, "coffee.png", "saliency", target="features.13:52")  # a unit
gradient(model, x, target="features.13:52@9,6")  # a neuron

both = torch.cat([x, x.flip(3)])
grad_cam(model, both, target=[46, 37])  # one an image


def espresso_rather_than_teapot(logits: torch.Tensor) -> torch.Tensor:
    """Any function of the output that gives one number an image."""
    return logits[:, net.classes.index("espresso")] - logits[:, net.classes.index("teapot")]


grad_cam(model, x, target=espresso_rather_than_teapot)
