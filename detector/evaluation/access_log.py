"""The test-set access log, `benchmarks/TEST_LEDGER.md`: each first scoring of frozen weights on a held-out set."""

import re
from datetime import date
from pathlib import Path

from detector.core import files

RENAMED = re.compile(r"^\| (\S+) \| `([0-9a-f]{16})` \| (\S+) \| `([0-9a-f]{16})` \|$", re.M)  # old, new


def record_access(weights: Path, set_: str, accuracy: float, *, name: str | None = None) -> None:
    """Append a line to the log unless these weights were scored on this set before.

    Args:
        weights: the file of the frozen candidate, identified by its SHA-256.
        set_: 'test' or 'unseen'.
        accuracy: a proportion.
        name: of the candidate; the stem of the file by default.
    """
    if not was_scored(weights, set_, name=name):
        line = (
            f"| {date.today()} {_key(name or weights.stem, files.sha256_prefix(weights), set_)} {100 * accuracy:.2f} |"
        )
        with files.ACCESS_LOG.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def was_scored(weights: Path, set_: str, *, name: str | None = None) -> bool:
    """Return whether the log has a line for these weights on this set, also under the name before a renaming."""
    text = files.ACCESS_LOG.read_text(encoding="utf-8")
    now = name or weights.stem, files.sha256_prefix(weights)
    before = [(old, digest) for old, digest, *new in RENAMED.findall(text) if tuple(new) == now]
    return any(_key(*known, set_) in text for known in [now, *before])


def _key(name: str, digest: str, set_: str) -> str:
    return f"| {name} | `{digest}` | {set_} |"
