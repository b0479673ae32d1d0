"""Train the released models: one command makes each file from the data."""

from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch

from detector.core import files
from detector.core.console import UserError
from detector.data.dataset import Dataset, load_cifake_only, make_toy_dataset
from detector.inference.calibration import calibrate
from detector.models.weights import NATIVE_RELEASED, round_weights, save_model
from detector.training.checkpoints import delete_checkpoint
from detector.training.distributed import processes, rank
from detector.training.loop import train_and_keep
from detector.training.native import release_native
from detector.training.recipes import RELEASES


def release(name: str, *, smoke: bool = False) -> Path:
    """Train a released model, replace its file in models/, and return the file.

    Raises UserError for a name without a recipe, or where CIFAKE is not available.

    Args:
        name: one of RELEASES, which are trained on CIFAKE, or of NATIVE_RELEASED.
        smoke: take one step on a few toy images and write into build/smoke/ only.
    """
    if name in NATIVE_RELEASED and processes() > 1:
        raise UserError(f"{name} trains a linear head in one process. Run the command without torchrun.")
    if name in NATIVE_RELEASED:
        return release_native(
            name, files.BUILD_DIR / "smoke" / f"{name}.safetensors" if smoke else files.model_file(name)
        )
    if name not in RELEASES:
        raise UserError(f"{name} has no recipe. Choose one of {', '.join([*RELEASES, *NATIVE_RELEASED])}.")
    if smoke:
        path, data = files.BUILD_DIR / "smoke" / f"{name}.safetensors", make_toy_dataset("").sample(100)
        train_release(name, data, path, epochs=1, batch_size=32, images=32)
        return path
    path = files.model_file(name)
    history = train_release(name, load_cifake_only(), path)
    if rank() == 0:
        print(history.to_string())
    return path


def train_release(name: str, data: Dataset, path: Path, **changes) -> pd.DataFrame:
    """Train a released model by its recipe, calibrate it, write it to `path`, and return the history (see `train`).

    Args:
        name: one of RELEASES.
        data: the dataset; training, validation and calibration splits are used.
        path: the model file.
        changes: values of the recipe to replace, such as `seed=5`.
    """
    recipe = replace(RELEASES[name].recipe, **changes)
    command = f"python -m detector train {name}"
    torch.manual_seed(recipe.seed)  # of the initial weights
    network = RELEASES[name].network()
    model, history, checkpoint = train_and_keep(network, data.train, data.validation, recipe, name=name)
    if rank() > 0:
        return history
    model = round_weights(model)  # calibrate the weights as the file has them
    calibrate(model, data.train, data.calibration)
    save_model(
        model,
        path,
        recipe=asdict(recipe),
        data=f"{data.name}, {len(data.train):,} images",
        reproducible=f"no: {command} with {changes}" if changes else command,
    )
    delete_checkpoint(checkpoint)  # only now: an interruption before this line loses nothing
    return history
