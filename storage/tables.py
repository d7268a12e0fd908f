"""The tables.

This is the one description of the schema that the queries use; the migrations must arrive at the
same, which a test checks. Columns hold plain numbers and text, so that the same tables can live in
another database later; a moment is whole microseconds since 1970 in UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# `seq` gives the order in which jobs were accepted, whatever the clock does.
# `prompt_folded` is the prompt as the history searches it. `details` is empty where there are none.
# `source_sha256` is of old rows only, whose seal covers it; the table `source` has it too.
job = Table(
    "job",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(13), nullable=False),
    Column("checksum", String(32), nullable=False),
    Column("state", String(9), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("params", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("prompt_folded", Text, nullable=False),
    Column("images", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("requester_id", BigInteger, nullable=False),
    Column("guild_id", BigInteger),
    Column("channel_id", BigInteger, nullable=False),
    Column("interaction_id", BigInteger, nullable=False),
    Column("parent_id", String(13), ForeignKey("job.id")),
    Column("parent_index", Integer),
    Column("repeat_index", Integer, nullable=False),
    Column("locale", Text, nullable=False),
    Column("source_sha256", String(64)),
    Column("progress_channel_id", BigInteger),
    Column("progress_message_id", BigInteger),
    Column("post_message_id", BigInteger),
    Column("post_nonce", String(25)),
    Column("post_started_at", BigInteger),
    Column("post_nonce_at", BigInteger),
    Column("error_code", Text),
    Column("error_text", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("claimed_at", BigInteger),
    Column("rendered_at", BigInteger),
    Column("posted_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("device_seconds", Float),
    Column("details", Text),
    UniqueConstraint("id"),
    UniqueConstraint("interaction_id", "repeat_index"),
    Index(None, "state", "seq"),
    Index(None, "requester_id", "seq"),
    Index(None, "guild_id", "seq"),
    Index(None, "parent_id"),
    Index(None, "post_message_id"),
    Index(None, "progress_message_id"),
    Index(None, "source_sha256"),
    sqlite_autoincrement=True,
)

picture = Table(
    "picture",
    metadata,
    Column("job_id", String(13), ForeignKey("job.id"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    # 64 bits, as the signed number that the column can hold.
    Column("phash", BigInteger),
    Index(None, "sha256"),
)

# The files that a job is made from; gone with the job's pictures.
source = Table(
    "source",
    metadata,
    Column("job_id", String(13), ForeignKey("job.id"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Index(None, "sha256"),
)

# Where a job that was stopped early can be taken up again.
state = Table(
    "state",
    metadata,
    Column("job_id", String(13), ForeignKey("job.id"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Index(None, "sha256"),
)

# `seq` gives the order of arrival here too.
note = Table(
    "note",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(13), nullable=False),
    Column("kind", Text, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("id"),
    Index(None, "user_id", "seq"),
    sqlite_autoincrement=True,
)

preference = Table(
    "preference",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("scope_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

macro = Table(
    "macro",
    metadata,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("text", Text, nullable=False),
)

# `seq` gives the order of pressing.
favourite = Table(
    "favourite",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("user_id", BigInteger, nullable=False),
    Column("job_id", String(13), ForeignKey("job.id"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "job_id", "index"),
    Index(None, "user_id", "seq"),
    Index(None, "job_id", "index"),
    sqlite_autoincrement=True,
)

report = Table(
    "report",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(13), nullable=False),
    Column("job_id", String(13), ForeignKey("job.id"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("guild_id", BigInteger),
    Column("reporter_id", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("settled_by", BigInteger),
    Column("verdict", Text),
    UniqueConstraint("id"),
    Index(None, "guild_id", "seq"),
    Index(None, "job_id"),
    Index(None, "reporter_id"),
    sqlite_autoincrement=True,
)

# In `ban` and `quota` the guild 0 is every guild, and direct messages.
ban = Table(
    "ban",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger),
    Column("reason", Text, nullable=False),
    Column("banned_by", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "user_id"),
)

quota = Table(
    "quota",
    metadata,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", Float, nullable=False),
    Index(None, "user_id"),
)

# Messages of ours beside the two that a job's row names; `user_id` is whom one is for, or by.
sent_message = Table(
    "sent_message",
    metadata,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("job_id", String(13), ForeignKey("job.id"), nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Index(None, "job_id"),
    Index(None, "user_id"),
    Index(None, "sent_at"),
)

# Single facts about the store itself, such as the mark of a clean stop.
fact = Table(
    "fact",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)
