"""Fakes made here: the makers trained on photographs, and the pictures that they make, kept in `data/made/`."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from detector.cifake import DATA_DIR
from detector.corruptions import encode
from detector.decoding import JPEG_SETTINGS
from detector.makers import Autoencoder, Critic, Denoiser
from detector.optimization import ema
from detector.progress import progress

MADE_DIR = DATA_DIR / "made"
MADE = 6000  # pictures of each maker
BATCH = 64
STEPS_OF_SAMPLING = 6  # more left more of the noise


@dataclass(frozen=True)
class Maker:
    """A network, how it is trained, for how many steps of 64 photographs, and how it makes pictures.

    `teach` trains it on photographs (N, 3, 32, 32) in [-1, 1]; `make` takes some of them to as many pictures.
    """

    network: Callable[[], nn.Module]
    teach: Callable[[nn.Module, "Photographs", int], nn.Module]
    make: Callable[[nn.Module, torch.Tensor, torch.Generator], torch.Tensor]
    steps: int


class Photographs:
    """Batches of uint8 (N, 3, 32, 32) in [-1, 1], drawn at random, half of them mirrored; the seed decides."""

    def __init__(self, pixels: torch.Tensor, seed: int):
        self.pixels, self.rng = pixels, torch.Generator().manual_seed(seed)

    def draw(self) -> torch.Tensor:
        batch = to_signed(self.pixels[torch.randint(len(self.pixels), (BATCH,), generator=self.rng)])
        return torch.cat([batch[: BATCH // 2], batch[BATCH // 2 :].flip(3)])


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """Uint8 to float32 in [-1, 1]."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def to_pixels(pictures: torch.Tensor) -> torch.Tensor:
    """Back again, through CIFAKE's JPEG settings."""
    return encode(((pictures + 1) * 127.5).round().clamp(0, 255).byte(), JPEG_SETTINGS["quality"], "JPEG")


def _adam(network: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=4e-4, betas=(0.5, 0.99))


def teach_autoencoder(network: nn.Module, photographs: Photographs, steps: int, likeness: float) -> nn.Module:
    """To give photographs back, with that weight, as a critic finds them real, who learns by the hinge loss."""
    critic = Critic().to(memory_format=torch.channels_last)
    optimizer, critics = _adam(network), _adam(critic)
    for _ in progress(range(steps), desc="teaching a maker", unit=" steps"):
        real = photographs.draw()
        fake = network(real)
        critic.requires_grad_(True)
        loss = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
        critics.zero_grad()
        loss.backward()
        critics.step()
        critic.requires_grad_(False)
        loss = likeness * F.l1_loss(fake, real) - critic(fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def teach_denoiser(network: nn.Module, photographs: Photographs, steps: int) -> nn.Module:
    """To tell the way from noise to photographs (flow matching); the weights' running average is kept."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    averaged = AveragedModel(network, multi_avg_fn=ema(0.99))
    for _ in progress(range(steps), desc="teaching a maker", unit=" steps"):
        real = photographs.draw()
        noise, time = torch.randn_like(real), torch.rand(len(real))
        loss = F.mse_loss(network(torch.lerp(real, noise, time[:, None, None, None]), time), noise - real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
    return averaged.module.eval()


def make_autoencoded(network: nn.Module, photographs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A third of them given back, a third made of two each, and of a third only the manner, as a generator would.

    Two codes are joined along a soft edge; those of the last third are drawn from the normal distribution that has the
    mean and the covariance of all.
    """
    codes = network.encoder(photographs)
    kept, pairs, drawn = codes.tensor_split(3)
    centred = codes - codes.mean(0)
    weights = torch.randn(len(drawn), len(codes), generator=rng) / len(codes) ** 0.5
    drawn = codes.mean(0) + torch.einsum("nm,mchw->nchw", weights, centred)
    across = torch.linspace(-1, 1, codes.shape[-1])
    angle = 2 * torch.pi * torch.rand(len(pairs), 1, 1, generator=rng)
    edge = torch.sigmoid(4 * (angle.cos() * across[None, None, :] + angle.sin() * across[None, :, None]))[:, None]
    joined = torch.lerp(pairs, pairs.roll(1, 0), edge)
    return network.decoder(torch.cat([kept, joined, drawn]))


def make_denoised(network: nn.Module, photographs: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each photograph brought part of the way to noise, and back in steps (SDEdit, Meng et al. 2021, arXiv 2108.01073).

    How far, between a fifth and nine tenths, is drawn for each batch.
    """
    start = float(0.2 + 0.7 * torch.rand((), generator=rng))
    noise = torch.randn(photographs.shape, generator=rng)
    x = torch.lerp(photographs, noise, start)
    for time in torch.linspace(start, 0, STEPS_OF_SAMPLING + 1)[:-1]:
        x = x - network(x, time.expand(len(x))) * start / STEPS_OF_SAMPLING
    return x


def _autoencoder(latent: int, halvings: int, upsampler: str, likeness: float) -> Maker:
    def network() -> nn.Module:
        return Autoencoder(latent=latent, halvings=halvings, upsampler=upsampler)

    return Maker(network, partial(teach_autoencoder, likeness=likeness), make_autoencoded, 500)


MAKERS = {
    "autoencoder_nearest": _autoencoder(12, 2, "nearest", 10),
    "autoencoder_transposed": _autoencoder(6, 2, "transposed", 5),
    "autoencoder_shuffled": _autoencoder(48, 3, "shuffled", 5),
    "autoencoder_bilinear": _autoencoder(8, 2, "bilinear", 3),
    "denoiser": Maker(Denoiser, teach_denoiser, make_denoised, 1000),
}


def made_pictures(name: str, photographs: torch.Tensor, folder: Path = MADE_DIR) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures by the maker of that name after it learnt from uint8 `photographs`, and what each is made of.

    Uint8 (MADE, 3, 32, 32) and rows of `photographs`, int64 (MADE,), ascending. Kept in `folder` for these very
    photographs, and made again where they are not there.
    """
    digest = hashlib.blake2b(photographs.numpy().tobytes(), digest_size=6).hexdigest()
    path = folder / f"{name}-{digest}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_make(MAKERS[name], photographs), path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    made = load_file(path)
    return made["pixels"], made["rows"]


def _make(maker: Maker, photographs: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = maker.network().to(memory_format=torch.channels_last)
    network = maker.teach(network, Photographs(photographs, 0), maker.steps)
    rng = torch.Generator().manual_seed(1)
    rows = torch.randperm(len(photographs), generator=rng)[:MADE].sort().values
    with torch.inference_mode():
        parts = [to_pixels(maker.make(network, to_signed(photographs[some]), rng)) for some in rows.split(120)]
    return {"pixels": torch.cat(parts), "rows": rows}
