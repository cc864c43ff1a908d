import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import convscope as cs
from convscope.training.aligned_embedding import embed_after

found = load_digits()
images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(found.target)
train, test = TensorDataset(images[:600], labels[:600]), TensorDataset(images[600:800], labels[600:800])

net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
optimiser = torch.optim.Adam(net.parameters(), 1e-3)
batches = DataLoader(train, batch_size=32, shuffle=True)

probe = cs.Probe(net, None, {"train": batches, "held out": test}, out="mine.run", units=["2:5"])
probe(0)  # before training
for epoch in range(1, 4):
    for x, y in batches:
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
    seen = probe(epoch)
    print(epoch, seen.splits["held out"].accuracy, seen.layers[0].relative_change)
folder = probe.finish()  # convscope training mine.run draws its sheets and films

print(probe.snapshots[-1].embedding.points.shape)  # (200, 2)
print(cs.open_training(folder).epochs)  # (0, 1, 2, 3)

before = None  # the same features by PCA, each map laid onto the one before
for seen in probe.snapshots:
    before = embed_after(seen.embedding.features, before, "pca").points
