"""Job ids: 64 random bits written as 13 characters of lower-case base 32.

They fit a button's custom_id (100) and a message nonce (25), are safe in file names, and cannot be
guessed or counted. They carry no time and no order; the table's own sequence does that.
"""

from __future__ import annotations

import base64
import re
import secrets

JOB_ID_LENGTH = 13
_JOB_ID = re.compile(r"[a-z2-7]{12}[acegikmoqsuwy246]", re.ASCII)


def new_job_id() -> str:
    """Return a fresh random job id."""
    return base64.b32encode(secrets.token_bytes(8)).decode("ascii").rstrip("=").lower()


def is_job_id(text: str) -> bool:
    """Say whether the text has the shape of a job id."""
    return len(text) == JOB_ID_LENGTH and _JOB_ID.fullmatch(text) is not None
