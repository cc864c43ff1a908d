import convscope as cs

net = cs.load()  # the bundled model; cs.load("torchvision:resnet50") is another
photo = cs.read_image("coffee.png")

print(cs.predict(net, photo))  # [("espresso", 0.98), ("teapot", 0.01), ...]

why = cs.explain(net, photo, method="grad-cam", target="espresso")
why.save("why.png")  # or .jpg, .webp; .html with what it cannot tell; .npz with the raw values
print(why.layer, why.values.shape)  # features.18 torch.Size([8, 8])
