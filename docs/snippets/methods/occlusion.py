import convscope as cs
from convscope.attribution import occlusion

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="occlusion", target="espresso", size=16, stride=4)
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = occlusion(net.module, x, target=target, size=16, stride=4)
assert heat.shape == (1, 64, 64)
cells = occlusion(net.module, x, target=target, size=16, stride=4, reading="drop")
assert cells.shape == (1, 13, 13)  # one cell a position
