"""Fakes made here: the makers, taught on photographs and shipped in `models/makers/`, and what they make.

`teach_maker` writes a maker's file; `made_pictures` loads it, and keeps the pictures that it makes in `data/made/`.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from detector.cifake import DATA_DIR
from detector.corruptions import encode
from detector.critics import PlainCritic, ResidualCritic
from detector.decoding import JPEG_SETTINGS
from detector.devices import pick_device
from detector.generators import (
    Generator,
    ResidualGenerator,
    ShuffledGenerator,
    StyleGenerator,
    TransposedGenerator,
)
from detector.makers import Autoencoder, Denoiser
from detector.progress import InputError, progress
from detector.teaching import (
    BATCH,
    Contest,
    Photographs,
    Steps,
    counted,
    teach_autoencoder,
    teach_denoiser,
    teach_generator,
    to_signed,
)
from detector.weights import MODELS_DIR, compact, write_tensors

MADE_DIR, MAKERS_DIR = DATA_DIR / "made", MODELS_DIR / "makers"
MADE = 6000  # pictures of each maker
STEPS_OF_SAMPLING = 20  # from noise alone; fewer from less noise
NOTHING = -1  # the row of a picture that was made of no photograph
CHECKED = 100  # steps from one look at the losses to the next


@dataclass(frozen=True)
class Maker:
    """A network, how it is taught, and how it makes pictures: of noise, of photographs, or half of each.

    Attributes:
        network: with its first weights.
        teach: a way of `detector.teaching`: takes network, photographs and pace.
        steps: of teaching; the shipped ones took as many as a GPU did in minutes, several side by side.
        of_noise: network, how many, and chance to that many pictures in [-1, 1].
        of_photographs: network, photographs (N, 3, 32, 32) in [-1, 1] and chance to as many pictures.
        learns: how, in a word, for the file.
        batch: photographs a step.
    """

    network: Callable[[], nn.Module]
    teach: Callable[[nn.Module, Photographs, Iterable[float]], Steps]
    steps: int
    of_noise: Callable[[nn.Module, int, torch.Generator], torch.Tensor] | None = None
    of_photographs: Callable[[nn.Module, torch.Tensor, torch.Generator], torch.Tensor] | None = None
    learns: str = ""
    batch: int = BATCH


def to_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """From [-1, 1] to uint8 again, on the CPU, through CIFAKE's JPEG settings."""
    return encode(((pictures.cpu() + 1) * 127.5).round().clamp(0, 255).byte(), JPEG_SETTINGS["quality"], "JPEG")


def remake(network: nn.Module, photographs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """An autoencoder's: a third given back, a third made of two each, and of a third only the manner.

    Two codes are joined along a soft edge; those of the last third are drawn from the normal distribution that has the
    mean and the covariance of all.
    """
    codes, device = network.encoder(photographs), rng.device
    kept, pairs, drawn = codes.tensor_split(3)
    centred = codes - codes.mean(0)
    weights = torch.randn(len(drawn), len(codes), generator=rng, device=device) / len(codes) ** 0.5
    drawn = codes.mean(0) + torch.einsum("nm,mchw->nchw", weights, centred)
    across = torch.linspace(-1, 1, codes.shape[-1], device=device)
    angle = 2 * torch.pi * torch.rand(len(pairs), 1, 1, generator=rng, device=device)
    edge = torch.sigmoid(4 * (angle.cos() * across[None, None, :] + angle.sin() * across[None, :, None]))[:, None]
    joined = torch.lerp(pairs, pairs.roll(1, 0), edge)
    return network.decoder(torch.cat([kept, joined, drawn]))


def denoise_noise(network: nn.Module, count: int, rng: torch.Generator) -> torch.Tensor:
    """A denoiser's pictures of noise alone."""
    return _denoise(network, torch.randn(count, 3, 32, 32, generator=rng, device=rng.device), 1.0)


def denoise_photographs(network: nn.Module, photographs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each photograph brought part of the way to noise, and back in steps (SDEdit, Meng et al. 2021, arXiv 2108.01073).

    How far, between a tenth and nine tenths, is drawn for each batch, with its logarithm even: the last steps from
    noise to a picture leave their traces on one whose content is a photograph's.
    """
    start = float(0.1 * 9 ** torch.rand((), generator=rng, device=rng.device))
    noise = torch.randn(photographs.shape, generator=rng, device=rng.device)
    return _denoise(network, torch.lerp(photographs, noise, start), start)


def _denoise(network: nn.Module, x: torch.Tensor, start: float) -> torch.Tensor:
    """Follow the velocity from time `start` to 0 by Adams and Bashforth's steps of second order, the first by Euler's.

    They ask the network once a step, as Euler's do, and need about half as many.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    steps, before = max(4, round(start * STEPS_OF_SAMPLING)), None
    for step in range(steps):
        velocity = network(x, torch.full((len(x),), start * (1 - step / steps), device=x.device))
        ahead = velocity if before is None else 1.5 * velocity - 0.5 * before
        x, before = x - ahead * (start / steps), velocity
    return x


def _autoencoder(latent: int, halvings: int, upsampler: str, likeness: float, steps: int) -> Maker:
    network = partial(Autoencoder, latent=latent, halvings=halvings, upsampler=upsampler)
    teach, learns = partial(teach_autoencoder, likeness=likeness), f"{likeness} L1 and hinge"
    return Maker(network, teach, steps, of_photographs=remake, learns=learns)


def _generator(network: Callable[[], Generator], steps: int, contest: Contest) -> Maker:
    teach, learns = partial(teach_generator, contest=contest), f"{contest.loss}, penalty {contest.penalty}"
    return Maker(network, teach, steps, of_noise=lambda network, count, rng: network.draw(count, rng), learns=learns)


MAKERS = {
    "autoencoder_nearest": _autoencoder(12, 2, "nearest", 10, 1800),
    "autoencoder_transposed": _autoencoder(6, 2, "transposed", 5, 1000),
    "autoencoder_shuffled": _autoencoder(48, 3, "shuffled", 5, 700),
    "autoencoder_bilinear": _autoencoder(8, 2, "bilinear", 3, 900),
    "gan_transposed": _generator(
        TransposedGenerator,
        8400,
        Contest(partial(PlainCritic, spectral=True), "logistic", betas=(0.5, 0.999)),
    ),
    "gan_nearest": _generator(
        ResidualGenerator,
        3500,
        Contest(partial(ResidualCritic, spectral=True), "hinge", rates=(2e-4, 4e-4)),
    ),
    "gan_style": _generator(
        StyleGenerator,
        2700,
        Contest(partial(ResidualCritic, spectral=False), "logistic", "photographs", 0.1, betas=(0.0, 0.99)),
    ),
    "gan_shuffled": _generator(
        ShuffledGenerator,
        1900,
        Contest(partial(PlainCritic, 48, spectral=False), "wasserstein", "between", 10, rounds=2, disguised=False),
    ),
    "denoiser": Maker(
        Denoiser,
        teach_denoiser,
        1747,
        of_noise=denoise_noise,
        of_photographs=denoise_photographs,
        learns="velocity",
        batch=512,
    ),
}  # fmt: skip


def teach_maker(name: str, photographs: torch.Tensor, path: Path, steps: int | None = None, *, seed: int = 0) -> None:
    """Teach the maker of that name on uint8 `photographs`, (N, 3, 32, 32), and write it to `path`.

    For `steps`, else for as many as it ships with. Raises InputError where it diverged.
    """
    maker = MAKERS[name]
    steps = steps or maker.steps
    given = Photographs(photographs, seed, device=pick_device(), batch=maker.batch)
    torch.manual_seed(seed)
    network = maker.network().to(pick_device(), memory_format=torch.channels_last)
    with progress(counted(steps), total=steps, desc=f"teaching {name}", unit=" steps") as pace:
        for step, (taught, losses) in enumerate(maker.teach(network, given, pace), 1):  # noqa: B007 - the last is kept
            if (step % CHECKED == 0 or step == steps) and not losses.isfinite().all():
                raise InputError(f"{name} diverged by step {step}: teach it with another seed.")
    save_maker(taught, path, name, photographs, steps=steps, seed=seed)


def save_maker(network: nn.Module, path: Path, name: str, photographs: torch.Tensor, *, steps: int, seed: int) -> None:
    """Write a maker's weights (fp16) and how it learnt to `path`."""
    tensors = {key: compact(tensor) for key, tensor in network.state_dict().items()}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"{name} has weights that fp16 does not hold: teach it with another seed.")
    recipe = {"steps": steps, "batch": MAKERS[name].batch, "seed": seed, "learns": MAKERS[name].learns}
    facts = {
        "maker": name,
        "recipe": json.dumps(recipe),
        "photographs": f"{len(photographs):,}, {_digest(photographs.numpy().tobytes())}",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
    }
    write_tensors(tensors, path, facts)


def load_maker(name: str, path: Path) -> nn.Module:
    """The maker of that name as `save_maker` wrote it: eval mode, float32, on the CPU.

    Raises InputError if the file is absent, or is not that maker's.
    """
    network = MAKERS[name].network()
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        network.load_state_dict(tensors)
    except FileNotFoundError as error:
        raise InputError(f"there is no maker at {path}: restore it from the repository.") from error
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole {name} ({error}): restore it from the repository.") from error
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def made_pictures(
    name: str, photographs: torch.Tensor, folder: Path = MADE_DIR, makers: Path = MAKERS_DIR
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures by the shipped maker of that name, and what each is made of.

    Uint8 (MADE, 3, 32, 32) and rows of uint8 `photographs`, int64 (MADE,), ascending, each at most once; NOTHING where
    noise was enough. Kept in `folder` for this very maker and, if it needs them, these very photographs, and made again
    where they are not there.

    Raises InputError where the maker is absent from `makers`, or not whole.
    """
    maker, weights = MAKERS[name], makers / f"{name}.safetensors"
    network = load_maker(name, weights)
    path = folder / f"{name}-{_digest(weights.read_bytes(), *_needed(maker, photographs))}.safetensors"
    if not path.exists():
        write_tensors(_make(maker, network, photographs), path)
    made = load_file(path)
    return made["pixels"], made["rows"]


def _needed(maker: Maker, photographs: torch.Tensor) -> list[bytes]:
    return [photographs.numpy().tobytes()] if maker.of_photographs else []


def _digest(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@torch.inference_mode()
def _make(maker: Maker, network: nn.Module, photographs: torch.Tensor) -> dict[str, torch.Tensor]:
    device = pick_device()
    network, rng = network.to(device), torch.Generator(device).manual_seed(1)
    drawn = 0 if maker.of_noise is None else MADE if maker.of_photographs is None else MADE // 2
    nothing = torch.full((drawn,), NOTHING)
    rows = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(1))[: MADE - drawn].sort().values
    batches = [some for part in (nothing, rows) for some in part.split(120) if len(some)]
    with progress(batches, desc="drawing fakes", unit=" batches", delay=1) as bar:
        parts = [to_pixels(_draw(maker, network, photographs, some, rng)) for some in bar]
    return {"pixels": torch.cat(parts), "rows": torch.cat([nothing, rows])}


def _draw(
    maker: Maker, network: nn.Module, photographs: torch.Tensor, rows: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Of these photographs, or of noise where the rows are NOTHING."""
    if rows[0] == NOTHING:
        return maker.of_noise(network, len(rows), rng)
    return maker.of_photographs(network, to_signed(photographs[rows].to(rng.device)), rng)
