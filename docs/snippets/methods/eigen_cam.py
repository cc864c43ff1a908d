import convscope as cs
from convscope.attribution import eigen_cam

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="eigen-cam", layer="features.18")
why.save("why.png")

# the same on plain modules and tensors
x = net.input_of(photo)
heat = eigen_cam(net.module, x, layer="features.18")
assert heat.shape == (1, 8, 8)
# no target: the map is the layer's, whatever the class
