import convscope as cs
from convscope.attribution import deconvnet

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

why = cs.explain(net, photo, method="deconvnet", layer="features.13")
why.save("why.png")
print(why.target)  # the strongest unit of that layer, and where: features.13:52@11,10

# the same on plain modules and tensors
x = net.input_of(photo)
picture = deconvnet(net.module, x, target=why.target)
assert picture.shape == (1, 3, 64, 64)
whole_unit = deconvnet(net.module, x, layer="features.13", target=52)
