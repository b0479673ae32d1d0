"""Checkpoints: the complete state of a training, so that an interrupted training resumes without any difference."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from detector.core.console import UserError
from detector.core.files import UNREADABLE, read_tensors, write_tensors
from detector.models.base import WithAuxiliaryHead


@dataclass
class TrainingState:
    """Everything that changes in a training.

    Attributes:
        model: the network with its auxiliary head.
        averaged: the moving average of the detector's weights and buffers.
        optimizers: those of all trained parameters.
        schedules: the learning-rate schedule of each optimizer.
        network: the model as training calls it (`distributed.parallel`).
        history: a row of metrics for each evaluation.
        best: the averaged weights with the best validation accuracy.
    """

    model: WithAuxiliaryHead
    averaged: AveragedModel
    optimizers: list[torch.optim.Optimizer]
    schedules: list[torch.optim.lr_scheduler.LRScheduler]
    network: nn.Module
    history: list[dict] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def save_checkpoint(state: TrainingState, path: Path) -> None:
    """Write a training's state to `path`. The checkpoint before it is kept, in case that this one is damaged."""
    groups = {"model": state.model.state_dict(), "averaged": state.averaged.state_dict(), "best": state.best}
    param_groups, schedules = [], []
    for index, (optimizer, schedule) in enumerate(zip(state.optimizers, state.schedules, strict=True)):
        saved = optimizer.state_dict()
        groups |= {f"optimizer.{index}.{row}": tensors for row, tensors in saved["state"].items()}
        param_groups.append(saved["param_groups"])
        schedules.append(schedule.state_dict())
    tensors = {f"{group}/{key}": tensor for group, values in groups.items() for key, tensor in values.items()}
    progress = {"param_groups": param_groups, "schedules": schedules, "history": state.history}
    if path.exists():
        path.replace(_before(path))
    write_tensors(tensors, path, {"progress": json.dumps(progress)})


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Restore the state that `save_checkpoint` wrote into a newly started training, if there is any.

    A damaged checkpoint is skipped with a message, and the one before it is used.

    Raises UserError if both are damaged.
    """
    found = [file for file in (path, _before(path)) if file.exists()]
    for file in found:
        try:
            tensors, metadata = read_tensors(file)
            progress = json.loads(metadata["progress"])
        except UNREADABLE as error:
            print(f"The checkpoint {file} is damaged ({error}) and is not used.", file=sys.stderr)
        else:
            return _restore(state, tensors, progress)
    if found:
        raise UserError(f"The checkpoint {path} is damaged. Delete it to train from the start.")
    return None


def _restore(state: TrainingState, tensors: dict[str, torch.Tensor], progress: dict) -> None:
    groups: dict[str, dict] = {}
    for name, tensor in tensors.items():
        group, key = name.split("/", 1)
        groups.setdefault(group, {})[key] = tensor
    state.model.load_state_dict(groups["model"])
    state.averaged.load_state_dict(groups["averaged"])
    for index, (optimizer, schedule) in enumerate(zip(state.optimizers, state.schedules, strict=True)):
        prefix = f"optimizer.{index}."
        rows = {int(name.removeprefix(prefix)): values for name, values in groups.items() if name.startswith(prefix)}
        optimizer.load_state_dict({"state": rows, "param_groups": progress["param_groups"][index]})
        schedule.load_state_dict(progress["schedules"][index])
    state.history, state.best = progress["history"], groups["best"]


def delete_checkpoint(path: Path) -> None:
    """Delete a training's checkpoint and the one before it."""
    for file in (path, _before(path)):
        file.unlink(missing_ok=True)


def _before(path: Path) -> Path:
    return path.with_suffix(".before.safetensors")
