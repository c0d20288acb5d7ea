"""The audit: an append-only trail of all that was asked, decided and done, in a hash chain.

Called by every room that decides or acts; the store keeps the rows, the commands check and export them. Knows neither
how to replay nor how anything is shown.
"""

from llmcore.audit.chain import GENESIS, Head, Verification, link, verify
from llmcore.audit.export import export_lines, verify_lines
from llmcore.audit.trail import Audit, canonical

__all__ = [
    "GENESIS",
    "Audit",
    "Head",
    "Verification",
    "canonical",
    "export_lines",
    "link",
    "verify",
    "verify_lines",
]
