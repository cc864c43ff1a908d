import convscope as cs
from convscope.attribution import integrated_gradients

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="integrated-gradients", target="espresso", steps=100)
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = integrated_gradients(net.module, x, target=target, steps=100)
assert heat.shape == (1, 3, 64, 64)
assert "completeness gap" in why.measures  # how far the shares are from adding up
