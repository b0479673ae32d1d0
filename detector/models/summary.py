"""Model summaries: layers, parameters and multiply-accumulate operations."""

import pandas as pd
import torch
from torch import nn

from detector.core.labels import SIDE


def layer_table(model: nn.Module, *, side: int = SIDE) -> pd.DataFrame:
    """Return the output shape, parameters and multiply-accumulates (MACs) of each convolution and linear layer.

    MACs are counted for one image of `side` by `side` pixels; a layer that runs twice, as with flip TTA, counts twice.
    """
    rows: dict[str, tuple] = {}

    def counter(name):
        def hook(layer, _inputs, output):
            macs = output[0].numel() * layer.weight[0].numel() + (rows[name][-1] if name in rows else 0)
            shape = " × ".join(map(str, output.shape[1:]))
            rows[name] = name, type(layer).__name__, shape, sum(p.numel() for p in layer.parameters()), macs

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(counter(name)) for name, layer in layers]
    training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows.values(), columns=["layer", "kind", "output", "parameters", "MACs"])


def size_table(models: dict[str, nn.Module]) -> pd.DataFrame:
    """Return each model's input side in pixels, number of parameters, and MACs for one image."""
    rows = {
        name: (
            getattr(model, "size", SIDE),
            sum(p.numel() for p in model.parameters()),
            layer_table(model)["MACs"].sum(),
        )
        for name, model in models.items()
    }
    columns = ["input side", "parameters", "MACs"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")
