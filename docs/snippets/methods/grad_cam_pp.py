import convscope as cs
from convscope.attribution import grad_cam_pp

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="grad-cam++", target="espresso", layer="features.18")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = grad_cam_pp(net.module, x, target=target, layer="features.18")
assert heat.shape == (1, 8, 8)
assert (heat >= 0).all()
