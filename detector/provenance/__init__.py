"""Evidence beside the pixels: signed C2PA manifests and metadata. It never changes P(FAKE).

Absence proves nothing, because many programs and websites remove metadata. Metadata without a signature can be forged.
"""

# ruff: noqa: F401 - re-exported

from detector.provenance.evidence import Evidence, evidence_text
from detector.provenance.find import find_evidence
