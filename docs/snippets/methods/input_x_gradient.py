import convscope as cs
from convscope.attribution import input_x_gradient

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="input-x-gradient", target="espresso")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = input_x_gradient(net.module, x, target=target)
assert heat.shape == (1, 3, 64, 64)
shares = heat.sum((1, 2, 3))  # near the logit; not equal, because of the biases
