"""Read and verify C2PA manifests (Content Credentials) with the package c2pa-python.

`trust_list.pem` holds the official lists of trusted signers and time-stamping authorities, with their date. Nothing is
fetched from the network.
"""

import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources

from detector.provenance.evidence import MANIFEST, Evidence, clean, source_type
from detector.provenance.metadata import image_format

TRUSTED = "intact, signer trusted"
UNKNOWN = "intact, signer unknown"
BROKEN = "broken"
UNCHECKED = "not checked"
STATEMENTS = {
    TRUSTED: "The image has not changed since it was signed, and the signer's certificate leads to the trust list.",
    UNKNOWN: "The image has not changed since it was signed, but the signer is not verified. Anyone can sign this way.",
    BROKEN: "The image changed after it was signed, or the manifest is damaged. Its content proves nothing.",
}
LIST_DATE = " The bundled trust list is of {date}."
NO_PACKAGE = "The file seems to have a manifest. Install the package c2pa-python to verify it."
REMOTE = "The manifest is on a server, at an address that the file names. It was not fetched."
CERTIFICATE = "BEGIN CERTIFICATE"
SIGNER_PROBLEMS = ("signingCredential.", "timeStamp.", "cawg.")  # codes that concern who signed, and when


def bundled_trust_list() -> str:
    """Return the bundled trust list: PEM certificates after a comment with its date."""
    return resources.files("detector.provenance").joinpath("trust_list.pem").read_text(encoding="utf-8")


def read_manifest(data: bytes, trust_list: str | None = None) -> list[Evidence]:
    """Return the evidence in a file's C2PA manifest, its state first; nothing if there is no manifest.

    Args:
        data: a whole image file.
        trust_list: PEM certificates of trusted signers' roots; the bundled list by default.
    """
    format_ = image_format(data)
    if format_ is None or not (b"c2pa" in data or b"dcterms:provenance" in data):
        return []
    try:
        import c2pa
    except Exception:  # not installed, or its library does not load on this machine
        return [Evidence(MANIFEST, NO_PACKAGE, UNCHECKED)]
    anchors = bundled_trust_list() if trust_list is None else trust_list
    try:
        with (
            c2pa.Context.from_dict(_settings(anchors)) as context,
            c2pa.Reader(f"image/{format_.lower()}", io.BytesIO(data), context=context) as reader,
        ):
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return []
    except Exception as error:  # the library names no class for a manifest on a server
        remote = str(error).startswith("Remote:")
        return [Evidence(MANIFEST, REMOTE, UNCHECKED) if remote else Evidence(MANIFEST, STATEMENTS[BROKEN], BROKEN)]
    state = _state(store)
    statement = STATEMENTS[state]
    if state == UNKNOWN and trust_list is None:
        statement += LIST_DATE.format(date=re.search(r"# Date: (\S+)", anchors)[1])
    found = [Evidence(MANIFEST, statement, state)]
    with suppress(AttributeError, KeyError, TypeError):  # a manifest may hold values of any type
        found += _content(store)
    return found


def _settings(anchors: str) -> dict:
    trust = {"trust_anchors": anchors} if CERTIFICATE in anchors else {}
    verify = {"verify_trust": True, "remote_manifest_fetch": False, "ocsp_fetch": False}
    return {"version": 1, "trust": trust, "verify": verify, "core": {"decode_identity_assertions": False}}


def _state(store: dict) -> str:
    """Return TRUSTED, UNKNOWN or BROKEN. Problems with a certificate or a time stamp alone leave a manifest intact."""
    results = store["validation_results"]
    active = results["activeManifest"]
    earlier = [item["validationDeltas"] for item in results.get("ingredientDeltas", [])]
    problems = [item["code"] for part in (active, *earlier) for item in part["failure"]]
    successes = [item["code"] for item in active["success"]]
    if "claimSignature.validated" not in successes or not all(code.startswith(SIGNER_PROBLEMS) for code in problems):
        return BROKEN
    return TRUSTED if "signingCredential.trusted" in successes and not active["failure"] else UNKNOWN


def _content(store: dict) -> Iterator[Evidence]:
    """Yield what the manifest says: signer, generators, actions; and source types, also of earlier manifests."""
    active = store["manifests"][store["active_manifest"]]
    signature, actions = active.get("signature_info", {}), list(_actions(active))
    named = [active, *active.get("claim_generator_info", []), *(action.get("softwareAgent") for action in actions)]
    lists = {
        ("C2PA signer", "The certificate names this signer."): [signature.get("common_name"), signature.get("issuer")],
        ("C2PA generator", "The manifest names this program or generator."): map(_program, named),
        ("C2PA actions", "The manifest lists these actions."): [action.get("action") for action in actions],
    }
    for (kind, statement), texts in lists.items():
        if shown := dict.fromkeys(text for text in texts if isinstance(text, str) and text):
            yield Evidence(kind, statement, clean(", ".join(shown)))
    seen = set()
    for manifest in (active, *store["manifests"].values()):
        speaker = "The manifest" if manifest is active else "An earlier manifest in the file, not verified here,"
        for uri in (action.get("digitalSourceType") for action in _actions(manifest)):
            if isinstance(uri, str) and uri not in seen:
                seen.add(uri)
                yield source_type("C2PA source type", speaker, uri)


def _program(named: dict | str | None) -> str | None:
    """Return the program's name in a manifest, in an entry of its claim_generator_info or in a softwareAgent."""
    return named.get("claim_generator") or named.get("name") if isinstance(named, dict) else named


def _actions(manifest: dict) -> Iterator[dict]:
    for assertion in manifest.get("assertions", []):
        if assertion["label"].startswith("c2pa.actions"):
            yield from assertion["data"]["actions"]
