import convscope as cs
from convscope.trainings.loss_curves import loss_curves

run = cs.train("digits", "bundled:digits", "mine.run", epochs=2, report=False)
print(run.history[-1].accuracies)  # after the last epoch, by part
loss_curves(run).save("curves.png")

net = cs.load("mine.run")
print(cs.predict(net, "bundled:digits:7")[0])
