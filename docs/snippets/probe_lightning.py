import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import convscope as cs
from convscope.training.adapters.lightning import ProbeCallback


class Digits(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))

    def training_step(self, batch, _):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, _):
        x, y = batch
        self.log("validation", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


found = load_digits()
data = TensorDataset(torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target))
train = DataLoader(torch.utils.data.Subset(data, range(600)), batch_size=32, shuffle=True)
test = DataLoader(torch.utils.data.Subset(data, range(600, 800)), batch_size=100)

callback = ProbeCallback(out="lightning.run", network="net")
Trainer(max_epochs=2, callbacks=[callback], accelerator="cpu", logger=False).fit(Digits(), train, test)
print(cs.open_training("lightning.run").epochs)  # (0, 1, 2)
