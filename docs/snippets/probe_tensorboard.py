import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import convscope as cs
from convscope.training.adapters.tensorboard import log_to_tensorboard

net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
x, y = torch.rand(30, 1, 8, 8), torch.arange(30) % 3

with SummaryWriter("logs") as writer:  # tensorboard --logdir logs
    probe = cs.Probe(net, None, {"held out": (x, y)}, on_snapshot=[log_to_tensorboard(writer)])
    for epoch in range(3):
        # ... train for an epoch ...
        probe(epoch)
