"""How makers learn. Each way to teach yields, after every step, the network to keep as it is then, and the losses.

The pace is given: for each step the share of the teaching that is done, from 0 to below 1, by which the learning rate
goes. Who takes the steps may count them or look at a clock, show the losses, keep what was good, and stop at any.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from detector.critics import PatchCritic, disguise
from detector.generators import Generator
from detector.optimization import ema

BATCH = 128
EVERY = 16  # steps from one penalty on the slope at photographs to the next, which then counts as often
Steps = Iterator[tuple[nn.Module, torch.Tensor]]  # the network and its losses, float32 (L,), on its device


class Photographs:
    """Batches of uint8 (N, 3, 32, 32) in [-1, 1], drawn at random, half of them mirrored; the seed decides.

    All lie on `device`, and so does `rng`, the chance of all that is taught with them.
    """

    def __init__(self, pixels: torch.Tensor, seed: int, *, device: torch.device | str = "cpu", batch: int = BATCH):
        self.pixels, self.batch = pixels.to(device), batch
        self.rng = torch.Generator(device).manual_seed(seed)

    def draw(self) -> torch.Tensor:
        rows = torch.randint(len(self.pixels), (self.batch,), generator=self.rng, device=self.rng.device)
        batch = to_signed(self.pixels[rows])
        return torch.cat([batch[: self.batch // 2], batch[self.batch // 2 :].flip(3)])


@dataclass(frozen=True)
class Contest:
    """How a generator learns against a critic.

    Attributes:
        critic: with its first weights.
        loss: one of LOSSES.
        penalty: on the critic's slope: 'photographs' (R1, Mescheder et al. 2018, arXiv 1801.04406, every 16 steps),
            'between' photographs and fakes (Gulrajani et al. 2017, arXiv 1704.00028), or 'none'.
        weight: of the penalty.
        rates: Adam's learning rates, of the generator and of the critic.
        betas: Adam's, of both.
        rounds: the critic's steps for one of the generator's.
        disguised: whether the critic sees `disguise`d pictures.
        decay: of the generator's running average, a step.
    """

    critic: Callable[[], nn.Module]
    loss: str
    penalty: str = "none"
    weight: float = 0.0
    rates: tuple[float, float] = (2e-4, 2e-4)
    betas: tuple[float, float] = (0.0, 0.9)
    rounds: int = 1
    disguised: bool = True
    decay: float = 0.999


LOSSES = {  # the critic's, of its view of photographs and of fakes; the generator's, of the fakes alone
    "hinge": (lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda fake: -fake.mean()),
    "logistic": (
        lambda real, fake: (F.softplus(-real) + F.softplus(fake)).mean(),
        lambda fake: F.softplus(-fake).mean(),
    ),
    "wasserstein": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean()),
}


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """Uint8 to float32 in [-1, 1]."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def rate(done: float) -> float:
    """The learning rate's share of its peak: a short rise, then level, from the middle on straight down to nothing."""
    return min(1.0, 0.05 + 50 * done, 2 - 2 * done)


def _adam(network: nn.Module, peak: float, betas: tuple[float, float]) -> torch.optim.Adam:
    optimizer = torch.optim.Adam(network.parameters(), lr=peak, betas=betas, fused=True)
    optimizer.defaults["peak"] = peak
    return optimizer


def _average(network: nn.Module, decay: float) -> AveragedModel:
    """Of weights and running statistics."""
    return AveragedModel(network, multi_avg_fn=ema(decay), use_buffers=True)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["peak"] * rate(done)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _fast(device: torch.device) -> torch.autocast:
    """Bfloat16 on CUDA. A context for each pass: what it has cast it keeps, with gradient or without."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def teach_generator(network: Generator, photographs: Photographs, pace: Iterable[float], contest: Contest) -> Steps:
    """To draw what a critic, who learns too, finds real. The running average is kept; losses: critic's, generator's."""
    device = photographs.rng.device
    critic = contest.critic().to(device, memory_format=torch.channels_last)
    optimizer, critics = (_adam(*each, contest.betas) for each in zip((network, critic), contest.rates, strict=True))
    average, generator_loss = _average(network, contest.decay), LOSSES[contest.loss][1]
    for step, done in enumerate(pace):
        critic.requires_grad_(True)
        for _ in range(contest.rounds):
            real = photographs.draw()
            with torch.no_grad(), _fast(device):
                fake = network.draw(len(real), photographs.rng).float()
            critic_loss = _critic_loss(critic, real, fake, photographs.rng, contest)
            penalty = _penalty(critic, real, fake, photographs.rng, contest, step)
            _step(critics, critic_loss + penalty, done)
        critic.requires_grad_(False)
        with _fast(device):
            fake = network.draw(photographs.batch, photographs.rng).float()
            logits = critic(disguise(fake, photographs.rng) if contest.disguised else fake)
        loss = generator_loss(logits.float())
        _step(optimizer, loss, done)
        average.update_parameters(network)
        yield average.module, torch.stack([critic_loss.detach(), loss.detach()])


def _critic_loss(
    critic: nn.Module, real: torch.Tensor, fake: torch.Tensor, rng: torch.Generator, contest: Contest
) -> torch.Tensor:
    both = torch.cat([real, fake])
    with _fast(real.device):
        logits = critic(disguise(both, rng) if contest.disguised else both)
    return LOSSES[contest.loss][0](*logits.float().chunk(2))


def _penalty(
    critic: nn.Module, real: torch.Tensor, fake: torch.Tensor, rng: torch.Generator, contest: Contest, step: int
) -> torch.Tensor | float:
    """In float32, since it is a gradient of a gradient."""
    if contest.penalty == "photographs" and step % EVERY == 0:
        seen = disguise(real, rng) if contest.disguised else real
        return EVERY * contest.weight / 2 * _slope(critic, seen).square().mean()
    if contest.penalty == "between":
        share = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device)
        return contest.weight * (_slope(critic, torch.lerp(real, fake, share)) - 1).square().mean()
    return 0.0


def _slope(critic: nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """The length of the critic's gradient at each picture, (B,)."""
    pictures = pictures.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(pictures).sum(), pictures, create_graph=True)
    return (gradient.square().sum((1, 2, 3)) + 1e-12).sqrt()


def teach_autoencoder(network: nn.Module, photographs: Photographs, pace: Iterable[float], likeness: float) -> Steps:
    """To give photographs back, with that weight, as a critic finds them real, who learns by the hinge loss.

    Losses: the critic's, the likeness.
    """
    device, (critic_loss_of, _) = photographs.rng.device, LOSSES["hinge"]
    critic = PatchCritic().to(device, memory_format=torch.channels_last)
    optimizer, critics = (_adam(each, 4e-4, (0.5, 0.99)) for each in (network, critic))
    for done in pace:
        real = photographs.draw()
        with _fast(device):
            fake = network(real).float()
        critic.requires_grad_(True)
        with _fast(device):
            logits = critic(torch.cat([real, fake.detach()])).float()
        critic_loss = critic_loss_of(*logits.chunk(2))
        _step(critics, critic_loss, done)
        critic.requires_grad_(False)
        with _fast(device):
            logits = critic(fake).float()
        unlike = F.l1_loss(fake, real)
        _step(optimizer, likeness * unlike - logits.mean(), done)
        yield network, torch.stack([critic_loss.detach(), unlike.detach()])


def teach_denoiser(network: nn.Module, photographs: Photographs, pace: Iterable[float]) -> Steps:
    """To tell the way from noise to photographs (flow matching). The running average is kept. Loss: squared error."""
    device, rng = photographs.rng.device, photographs.rng
    optimizer, average = _adam(network, 8e-4, (0.9, 0.99)), _average(network, 0.999)
    for done in pace:
        real = photographs.draw()
        noise = torch.randn(real.shape, generator=rng, device=device)
        time = torch.rand(len(real), generator=rng, device=device)
        with _fast(device):
            guess = network(torch.lerp(real, noise, time[:, None, None, None]), time)
        loss = F.mse_loss(guess.float(), noise - real)
        _step(optimizer, loss, done)
        average.update_parameters(network)
        yield average.module, loss.detach()[None]


def counted(steps: int) -> list[float]:
    """The pace of so many steps."""
    return [step / steps for step in range(steps)]
