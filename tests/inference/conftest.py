"""Shared by the tests of storage and of Ray: images of noise, shards, and an S3 server."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 48, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _write_shard(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path.read_bytes()


@pytest.fixture
def png() -> Callable[[int], bytes]:
    """Return a function of a seed that returns the bytes of an image of noise."""
    return _png


@pytest.fixture
def write_shard() -> Callable[[Path, dict[str, bytes]], bytes]:
    """Return a function that writes a tar file with the members given and returns its bytes."""
    return _write_shard


@pytest.fixture
def s3() -> Iterator[tuple[object, str]]:
    """Return a client of an S3 server on this machine with an empty bucket, and a URI with a place for the key."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = pytest.importorskip("boto3").client("s3", endpoint_url=address, **keys)
    client.create_bucket(Bucket="bucket")
    yield client, f"s3://key:secret@bucket/{{}}?endpoint_override={address}&region=us-east-1"
    client.close()
    server.stop()
