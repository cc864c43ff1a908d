from my_net import make_net

import convscope as cs

model = make_net()
net = cs.load(model, classes=["cat", "coffee"], preprocess=cs.Preprocess(size=72, crop=64))
cs.explain(net, "coffee.png", method="grad-cam", target="coffee", layer="body.3").save("why.png")
