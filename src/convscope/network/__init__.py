"""The only place that touches a live ``nn.Module``: hooks, the autograd graph, loading. See README.md here."""
