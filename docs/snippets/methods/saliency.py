import convscope as cs
from convscope.attribution import saliency

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="saliency", target="espresso")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = saliency(net.module, x, target=target)
assert heat.shape == (1, 64, 64)
assert (heat >= 0).all()
