import convscope as cs
from convscope.attribution import ablation_cam

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="ablation-cam", target="espresso", layer="features.13")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
target = net.classes.index("espresso")
heat = ablation_cam(net.module, x, target=target, layer="features.13", batch=64)
assert heat.shape == (1, 16, 16)
assert (heat >= 0).all()
