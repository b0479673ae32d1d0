"""What a network is made of and what it costs: layers, parameters, multiply-accumulates."""

import pandas as pd
import torch
from torch import nn


def layer_table(model: nn.Module, *, side: int = 32) -> pd.DataFrame:
    """Each convolution and linear layer with its output's shape, parameters and multiply-accumulates (MACs).

    The MACs are those of one picture, `side` pixels wide and high.
    """
    rows: dict[str, tuple] = {}

    def note(name):
        def hook(layer, _inputs, output):
            macs = output[0].numel() * layer.weight[0].numel() + (rows[name][-1] if name in rows else 0)
            shape = " × ".join(map(str, output.shape[1:]))
            rows[name] = name, type(layer).__name__, shape, sum(p.numel() for p in layer.parameters()), macs

        return hook

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers]
    training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side, device=next(model.parameters()).device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return pd.DataFrame(rows.values(), columns=["layer", "kind", "output", "parameters", "MACs"])


def size_table(models: dict[str, nn.Module]) -> pd.DataFrame:
    """What each model sees and costs for one picture: side of the input in pixels, parameters (all), MACs."""
    rows = {
        name: (_side(model), sum(p.numel() for p in model.parameters()), layer_table(model)["MACs"].sum())
        for name, model in models.items()
    }
    columns = ["input side", "parameters", "MACs"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("model")


def _side(model: nn.Module) -> int | str:
    """What pictures are brought to; of an ensemble the range."""
    sides = sorted(getattr(part, "size", 32) for part in getattr(model, "members", [model]))
    return sides[0] if sides[0] == sides[-1] else f"{sides[0]} to {sides[-1]}"
