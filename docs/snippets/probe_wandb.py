import torch
import wandb
from torch import nn

import convscope as cs
from convscope.training.adapters.wandb import log_to_wandb

net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
x, y = torch.rand(30, 1, 8, 8), torch.arange(30) % 3

with wandb.init(project="mine", mode="offline") as run:
    probe = cs.Probe(net, None, {"held out": (x, y)}, on_snapshot=[log_to_wandb(run)])
    for epoch in range(3):
        # ... train for an epoch ...
        run.log({"learning rate": 0.1 / (epoch + 1)})
        probe(epoch)
