import torch

import convscope as cs
from convscope.attribution import cam

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="cam", target="espresso")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = cam(net.module, x, target=target)
assert heat.shape == (1, 8, 8)
logit = heat.mean((1, 2)) + net.module.classifier.bias[target]
assert torch.allclose(logit, net.module(x)[:, target])
