"""Matched fakes: photos reconstructed by an autoencoder, so that class and content are independent.

The networks are TAESD and its variants (madebyollin/taesd, MIT): tiny copies of the autoencoders of Stable Diffusion 1
and 2, Stable Diffusion 3, and FLUX.1. Reconstruction leaves the traces of a latent-diffusion decoder in a photo.
"""

from functools import cache

import torch
from safetensors.torch import load_file
from torch import nn

from detector.core import files
from detector.core.console import UserError
from detector.data.transforms import to_unit

AUTOENCODERS = ("taesd", "taesd3", "taef1")
CHANNELS, BLOCKS = 64, 3
LATENT_LIMIT = 3.0  # latents are squashed to ±LATENT_LIMIT before decoding


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + x)


class _Squash(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / LATENT_LIMIT) * LATENT_LIMIT


def _conv(inputs: int = CHANNELS, outputs: int = CHANNELS, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def _encoder(latent: int) -> nn.Sequential:
    layers = [_conv(3), _Block()]
    for _ in range(3):  # each stage halves the resolution
        layers += [_conv(stride=2, bias=False), *(_Block() for _ in range(BLOCKS))]
    return nn.Sequential(*layers, _conv(outputs=latent))


def _decoder(latent: int) -> nn.Sequential:
    layers = [_Squash(), _conv(latent), nn.ReLU()]
    for _ in range(3):
        layers += [*(_Block() for _ in range(BLOCKS)), nn.Upsample(scale_factor=2), _conv(bias=False)]
    return nn.Sequential(*layers, _Block(), _conv(outputs=3))


@cache
def load_autoencoder(name: str) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder of one of AUTOENCODERS.

    Raises UserError if a file is missing.
    """
    networks = []
    for part, build in (("encoder", _encoder), ("decoder", _decoder)):
        path = files.AUTOENCODERS_DIR / f"{name}_{part}.safetensors"
        if not path.exists():
            raise UserError(f"{path} is missing. Matched fakes need the autoencoders of madebyollin/taesd there.")
        weights = {key: tensor.float() for key, tensor in load_file(path).items()}
        latent = weights["14.weight"].shape[0] if part == "encoder" else weights["1.weight"].shape[1]
        network = build(latent)
        network.load_state_dict(weights)
        networks.append(network.eval().to(memory_format=torch.channels_last))
    return networks[0], networks[1]


@torch.inference_mode()
def reconstruct(pixels: torch.Tensor, name: str, noise: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Encode and decode images: uint8 (N, 3, H, W) to the same shape, sides rounded down to multiples of 8.

    Args:
        name: one of AUTOENCODERS.
        noise: standard deviation of Gaussian noise in the latents, as a share of their own.
        seed: of the noise.
    """
    encoder, decoder = load_autoencoder(name)
    height, width = (side // 8 * 8 for side in pixels.shape[-2:])
    latents = encoder(to_unit(pixels[..., :height, :width]).contiguous(memory_format=torch.channels_last))
    generator = torch.Generator().manual_seed(seed)
    latents = latents + noise * latents.std() * torch.randn(latents.shape, generator=generator)
    return (decoder(latents).clamp(0, 1) * 255).round().to(torch.uint8)
