import torch

import convscope as cs
from convscope.attribution import rise

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="rise", target="espresso", masks=200, seed=1)
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
generator = torch.Generator().manual_seed(1)
heat = rise(net.module, x, target=target, masks=200, generator=generator)
assert heat.shape == (1, 64, 64)
assert torch.equal(heat[0], why.values)  # the same seed, the same bits
