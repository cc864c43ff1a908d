import torch

import convscope as cs
from convscope.attribution import smooth_grad

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="smooth-grad", target="espresso", samples=20, seed=1)
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
generator = torch.Generator().manual_seed(1)
heat = smooth_grad(net.module, x, target=target, samples=20, generator=generator)
assert heat.shape == (1, 3, 64, 64)
assert torch.equal(heat[0], why.values)  # the same seed, the same bits
