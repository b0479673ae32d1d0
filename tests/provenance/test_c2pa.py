"""C2PA manifests: each state is told apart, and damage never raises. The tests sign with their own certificates."""

import datetime as dt
import io
import json
import random
import re
import sys
import time

import c2pa as library
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from detector.provenance import evidence_text, find_evidence
from detector.provenance.c2pa import BROKEN, TRUSTED, UNCHECKED, UNKNOWN, bundled_trust_list, read_manifest
from detector.provenance.evidence import CAUTION, MANIFEST, SOURCE_TYPES

FORMATS = ["JPEG", "PNG", "WEBP", "TIFF"]
PIXELS = bytes(range(1, 193)) * 64  # RGB, 64x64
IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CREATED = {"action": "c2pa.created", "digitalSourceType": IPTC + "trainedAlgorithmicMedia", "softwareAgent": "Model 4"}
OPENED = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}}
EDITED = {"action": "c2pa.edited", "digitalSourceType": IPTC + "humanEdits"}


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(subject: str, key, issuer: str, issuer_key, lifetime: dt.timedelta) -> bytes:
    """Return a certificate as PEM; a root certificate where the subject is the issuer."""
    is_root, now, public = subject == issuer, dt.datetime.now(dt.UTC), key.public_key()
    names = [
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name), x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in (subject, issuer)
    ]
    builder = (
        x509.CertificateBuilder(issuer_name=names[1], subject_name=names[0], public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(
            x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), critical=True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not is_root:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Chain:
    """A root certificate, and signatures by a certificate below it."""

    def __init__(self, lifetime: dt.timedelta = dt.timedelta(days=1)):
        root_key, key = new_key(), new_key()
        self.root = certificate("Root", root_key, "Root", root_key, dt.timedelta(days=1))
        self.certificates = certificate("Camera Ltd", key, "Root", root_key, lifetime) + self.root
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key = key.private_bytes(*encoding)

    def sign(self, image: bytes, *actions: dict, parent: bytes | None = None, remote: str = "") -> bytes:
        format_ = f"image/{Image.open(io.BytesIO(image)).format.lower()}"
        manifest = {
            "claim_generator_info": [{"name": "Program 1"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": actions}}],
        }
        signed = io.BytesIO()
        info = library.C2paSignerInfo(b"es256", self.certificates, self.key, None)
        with library.Builder(json.dumps(manifest)) as builder, library.Signer.from_info(info) as signer:
            if remote:
                builder.set_no_embed()
                builder.set_remote_url(remote)
            if parent:
                ingredient = {"relationship": "parentOf", "label": "parent", "title": "parent"}
                builder.add_ingredient(json.dumps(ingredient), format_, io.BytesIO(parent))
            builder.sign(signer, format_, io.BytesIO(image), signed)
        return signed.getvalue()


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


@pytest.fixture
def root(chain) -> str:
    return chain.root.decode()


def plain(format_: str) -> bytes:
    stream = io.BytesIO()
    options = {"WEBP": {"lossless": True}, "PNG": {"compress_level": 0}}.get(format_, {})
    Image.frombytes("RGB", (64, 64), PIXELS).save(stream, format_, **options)
    return stream.getvalue()


def with_another_pixel(signed: bytes, format_: str) -> bytes:
    """Change one byte of the pixels, far from the manifest."""
    marks = {"JPEG": b"\xff\xda", "PNG": b"IDAT", "WEBP": b"VP8L", "TIFF": PIXELS[:64]}
    at = (signed.rindex if format_ == "JPEG" else signed.index)(marks[format_]) + 40
    return signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]


def state(data: bytes, trust_list: str | None = None) -> str | None:
    found = read_manifest(data, trust_list)
    assert all(item.kind != MANIFEST for item in found[1:])
    return found[0].value if found else None


@pytest.mark.parametrize("format_", FORMATS)
def test_each_state_is_told_apart(format_, chain, root):
    image = plain(format_)
    signed = chain.sign(image, CREATED)
    assert state(image, root) is None
    assert state(signed, root) == TRUSTED
    assert state(signed) == state(signed, Chain().root.decode()) == UNKNOWN
    assert state(with_another_pixel(signed, format_), root) == BROKEN


def test_the_content_of_a_manifest_is_stated(chain, root):
    found = find_evidence(chain.sign(plain("PNG"), CREATED, EDITED), root)
    assert {item.kind: item.value for item in found[:4]} == {
        "C2PA manifest": TRUSTED,
        "C2PA signer": "Camera Ltd",
        "C2PA generator": "Program 1, Model 4",
        "C2PA actions": "c2pa.created, c2pa.edited",
    }
    assert [(item.value, item.statement) for item in found[4:]] == [
        (name, f"The manifest says that {SOURCE_TYPES[name]}.") for name in ("trainedAlgorithmicMedia", "humanEdits")
    ]


def test_an_earlier_manifest_in_the_file_is_stated(chain, root):
    """An image that was generated, then edited: the editor's manifest holds the generator's."""
    generated = chain.sign(plain("JPEG"), CREATED)
    found = find_evidence(chain.sign(generated, OPENED, parent=generated), root)
    assert found[0].value == TRUSTED
    statement = "An earlier manifest in the file, not verified here, says that the image was generated by AI."
    assert found[-1].statement == statement


def test_an_expired_certificate_does_not_break_a_manifest():
    chain = Chain(lifetime=dt.timedelta(seconds=2))
    signed = chain.sign(plain("JPEG"), CREATED)
    time.sleep(3.1)  # both times are compared in whole seconds
    assert state(signed, chain.root.decode()) == UNKNOWN


def test_a_manifest_on_a_server_is_not_fetched(chain, root):
    found = find_evidence(chain.sign(plain("JPEG"), CREATED, remote="http://localhost:9/x.c2pa"), root)
    assert [item.value for item in found] == [UNCHECKED]
    assert "not fetched" in found[0].statement


def test_without_the_package_a_sentence_says_so(chain, root, monkeypatch):
    signed = chain.sign(plain("JPEG"), CREATED)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    (item,) = find_evidence(signed, root)
    assert item.value == UNCHECKED and "c2pa-python" in item.statement
    assert find_evidence(plain("JPEG")) == []


def test_the_bundled_trust_list_has_a_date_and_authorities_that_were_valid_then(chain):
    date = dt.datetime.fromisoformat(re.search(r"^# Date: (\d{4}-\d\d-\d\d)$", bundled_trust_list(), re.M)[1])
    authorities = x509.load_pem_x509_certificates(bundled_trust_list().encode())
    assert len({authority.fingerprint(hashes.SHA256()) for authority in authorities}) == len(authorities) > 30
    for authority in authorities:
        assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert (
            authority.not_valid_before_utc.replace(tzinfo=None)
            <= date
            <= authority.not_valid_after_utc.replace(tzinfo=None)
        )
    names = " ".join(authority.subject.rfc4514_string() for authority in authorities)
    assert all(name in names for name in ("Google", "Adobe", "DigiCert"))
    (first, *_) = find_evidence(chain.sign(plain("PNG"), CREATED))
    assert first.value == UNKNOWN and first.statement.endswith(f"The bundled trust list is of {date:%Y-%m-%d}.")


def test_the_text_begins_with_the_manifest_and_ends_with_the_limits(chain, root):
    lines = evidence_text(find_evidence(chain.sign(plain("PNG"), CREATED), root)).splitlines()
    assert lines[0].startswith(f"- **{MANIFEST}:** `{TRUSTED}`. The image has not changed")
    assert lines[-1] == CAUTION and not any("none found" in line for line in lines)


@pytest.mark.parametrize("format_", FORMATS)
def test_mutated_and_truncated_manifests_never_raise(format_, chain, root):
    """A changed byte breaks a manifest, except in its padding."""
    data, generator = chain.sign(plain(format_), CREATED), random.Random(0)
    for _ in range(200):
        changed = bytearray(data)
        for _ in range(generator.randint(1, 20)):
            changed[generator.randrange(12, len(changed))] ^= generator.randrange(1, 256)
        assert state(bytes(changed), root) != UNKNOWN
    for length in range(0, len(data), len(data) // 100):
        assert state(data[:length], root) in (None, BROKEN)


def test_a_manifest_takes_little_time(chain):
    stream = io.BytesIO()
    Image.effect_noise((2000, 1500), 80).convert("RGB").save(stream, "JPEG")
    signed, times = chain.sign(stream.getvalue(), CREATED), []
    for _ in range(5):
        started = time.perf_counter()
        assert find_evidence(signed)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05
