"""What changes while a network is trained, written whole after each round, so that nothing is lost."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch.optim.swa_utils import AveragedModel

from detector.models import TwoTargets
from detector.progress import InputError
from detector.weights import MODELS_DIR, write_tensors

CHECKPOINTS = MODELS_DIR / "checkpoints"


@dataclass
class Run:
    """All that changes while a network is trained."""

    model: TwoTargets
    averaged: AveragedModel
    optimizers: list[torch.optim.Optimizer]
    schedules: list[torch.optim.lr_scheduler.LRScheduler]
    history: list[dict] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def save_checkpoint(run: Run, path: Path) -> None:
    """Write a run's state beside `path`, then rename: an interruption leaves the last whole checkpoint."""
    parts = {"model": run.model.state_dict(), "averaged": run.averaged.state_dict(), "best": run.best}
    groups, schedules = [], []
    for index, (optimizer, schedule) in enumerate(zip(run.optimizers, run.schedules, strict=True)):
        state = optimizer.state_dict()
        parts |= {f"optimizer.{index}.{row}": tensors for row, tensors in state["state"].items()}
        groups.append(state["param_groups"])
        schedules.append(schedule.state_dict())
    tensors = {f"{part}/{key}": value.contiguous() for part, state in parts.items() for key, value in state.items()}
    facts = {"groups": groups, "schedules": schedules, "history": run.history}
    write_tensors(tensors, path, {"facts": json.dumps(facts)})


def load_checkpoint(run: Run, path: Path) -> None:
    """Bring a fresh run to the state that `save_checkpoint` wrote.

    Raises InputError if the file is not whole: then delete it.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
            parts: dict[str, dict] = {}
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, key = name.split("/", 1)
                parts.setdefault(part, {})[key] = file.get_tensor(name)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"the checkpoint {path} is not whole ({error}): delete it to train from the start.") from error
    run.model.load_state_dict(parts["model"])
    run.averaged.load_state_dict(parts["averaged"])
    for index, (optimizer, schedule) in enumerate(zip(run.optimizers, run.schedules, strict=True)):
        prefix = f"optimizer.{index}."
        state = {int(part.removeprefix(prefix)): tensors for part, tensors in parts.items() if part.startswith(prefix)}
        optimizer.load_state_dict({"state": state, "param_groups": facts["groups"][index]})
        schedule.load_state_dict(facts["schedules"][index])
    run.history, run.best = facts["history"], parts["best"]
