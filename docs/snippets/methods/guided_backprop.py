import convscope as cs
from convscope.attribution import guided_backprop

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="guided-backprop", target="espresso")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = guided_backprop(net.module, x, target=target)
assert heat.shape == (1, 3, 64, 64)
other = guided_backprop(net.module, x, target=0)  # hardly differs: it is not about the class
