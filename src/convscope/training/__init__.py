"""How well a network learns: the data of a run, the loop, the probe that watches, and its adapters. No pictures."""
