"""Rows in and out: sealed when written, checked when read.

Every job row carries a BLAKE2b checksum of all its other columns. SQLite's own checks notice broken
pages but not a changed value inside a sound page, which is most of what a damaged disk does; so no
job leaves this module unless its seal holds, and every change is sealed again.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Float, RowMapping

from storage.errors import StoreDamaged
from storage.records import NO_DETAILS, Job, JobKind, JobState, Picture
from storage.tables import job as job_table

E = TypeVar("E", bound=StrEnum)

_JOB_FIELDS: Final = tuple(field.name for field in fields(Job))
# The sequence number is given by the database after the seal is made; quick_check guards its order.
_SEALED: Final = tuple(
    column.name for column in job_table.columns if column.name not in {"checksum", "seq"}
)
_MOMENTS: Final = tuple(name for name in _JOB_FIELDS if name.endswith("_at"))
_REAL: Final = frozenset(
    column.name for column in job_table.columns if isinstance(column.type, Float)
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return an aware moment as whole microseconds since 1970."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; the store keeps aware moments only")
    return (moment - _EPOCH) // _MICROSECOND


def to_moment(micros: int) -> datetime:
    """Return whole microseconds since 1970 as an aware moment in UTC."""
    return _EPOCH + micros * _MICROSECOND


def checksum(values: Mapping[str, Any] | RowMapping) -> str:
    """Return the seal of a job row.

    Empty columns are left out, so that a column added by a later migration breaks no old seal.
    """
    present = {
        name: _canonical(name, values[name])
        for name in _SEALED
        if name in values and values[name] is not None
    }
    text = json.dumps(present, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row's values with the checksum that fits them."""
    return {**values, "checksum": checksum(values)}


def read_job(row: RowMapping) -> Job:
    """Turn a row into a job, or say that the row is damaged."""
    if checksum(row) != row["checksum"]:
        raise StoreDamaged(
            f"job {row['id']!r} (row {row['seq']}) is not what was written: its checksum does not "
            "fit. Stop Easel and run `easel restore`, which brings the newest backup back."
        )
    values = {name: row[name] for name in _JOB_FIELDS}
    values["kind"] = _member(JobKind, row, "kind")
    values["state"] = _member(JobState, row, "state")
    values["details"] = row["details"] or NO_DETAILS
    if row["device_seconds"] is not None:
        values["device_seconds"] = float(row["device_seconds"])
    for name in _MOMENTS:
        values[name] = None if row[name] is None else to_moment(row[name])
    return Job(**values)


def read_picture(row: RowMapping) -> Picture:
    """Turn a row into a picture."""
    return Picture(
        job_id=row["job_id"],
        index=row["index"],
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        size=row["size"],
        media_type=row["media_type"],
        phash=None if row["phash"] is None else row["phash"] % 2**64,
    )


def to_signed(bits: int) -> int:
    """Return 64 bits as the signed number that a column can hold."""
    return bits - 2**64 if bits >= 2**63 else bits


def _member(values: type[E], row: RowMapping, name: str) -> E:
    # The seal holds, so this is no accident: another version wrote a value that this one lacks.
    try:
        return values(row[name])
    except ValueError as error:
        raise StoreDamaged(
            f"job {row['id']!r} has the {name} {row[name]!r}, which this Easel does not know; it "
            "was probably accepted by a newer version. Install that one."
        ) from error


def _canonical(name: str, value: object) -> object:
    # SQLite's RETURNING gives a whole number in a REAL column as an integer, SELECT as a float.
    return float(value) if name in _REAL and isinstance(value, int) else value


def fold(text: str) -> str:
    """Return text as it is searched: case, width and ligatures do not matter."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.encode("utf-8", "replace").decode("utf-8")
