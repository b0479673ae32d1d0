"""Training in several processes, which `torchrun` starts: each computes its rows of every batch.

All processes hold the same weights, optimizers and averages, because DistributedDataParallel (Li et al. 2020, arXiv
2006.15704) averages the gradients. They draw the same random numbers, so a batch does not depend on their number. In
one process every function here returns its argument.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detector.core.console import UserError

TIMEOUT = timedelta(minutes=5)  # a process that hangs ends the training after this time


def processes() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, from 0; the first one writes files and shows progress."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, each on its own GPU; without torchrun do nothing.

    Raises UserError if another process ends, or does not answer within TIMEOUT.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        if not _first_to_tell():
            raise SystemExit(1) from error
        raise UserError(
            "Another process of this training ended or hangs. Run the same command again, with any number of "
            "processes: the training resumes from its last checkpoint."
        ) from error
    finally:
        dist.destroy_process_group()


def _first_to_tell() -> bool:
    """Return whether no other process has told of a failure. The store is torchrun's, which outlives its processes."""
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=timedelta(seconds=10))
    return store.add("told", 1) == 1


def own_rows(count: int) -> slice:
    """Return this process's share of so many rows."""
    return slice(rank() * count // processes(), (rank() + 1) * count // processes())


def parallel(model: nn.Module, *, all_used: bool) -> nn.Module:
    """Return the model as training calls it: its gradients are averaged over the processes.

    On GPUs the model's batch norms are replaced by those that normalise by the statistics of the whole batch. On the
    CPU, where these do not exist, each process normalises its own rows (see `average_batch_norms`).

    Args:
        all_used: whether every parameter contributes to the loss.
    """
    if processes() == 1:
        return model
    if torch.cuda.is_available():
        from timm.layers import convert_sync_batchnorm  # torch's would lose the activations of timm's layers

        convert_sync_batchnorm(model)
    network = DistributedDataParallel(model, find_unused_parameters=not all_used)
    network.broadcast_buffers = False  # after they were sent once: the processes keep them equal
    return network


def average_batch_norms(model: nn.Module) -> None:
    """Average the running statistics that each process computed on its own rows."""
    if processes() == 1:
        return
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    if buffers:
        means = total(torch.cat(buffers)) / processes()
        torch._foreach_copy_(buffers, means.split([len(buffer) for buffer in buffers]))


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of the processes' values, without gradients."""
    values = values.detach()
    if processes() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def gather(values: torch.Tensor, count: int) -> torch.Tensor:
    """Return the rows of all processes, (count, ...); each process gives its `own_rows` of them."""
    if processes() == 1:
        return values
    rows = torch.zeros(count, *values.shape[1:], dtype=values.dtype, device=values.device)
    rows[own_rows(count)] = values
    return total(rows)  # exact: all other processes have zeros


def require_same(value: object, message: str) -> None:
    """Raise UserError with this message in all processes unless they all have the same value."""
    values = [value] * processes()
    if processes() > 1:
        dist.all_gather_object(values, value)
    if any(other != value for other in values):
        raise UserError(message)
