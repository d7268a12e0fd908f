"""The first tables: jobs, their pictures, and facts about the store."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _create_job()
    op.create_table(
        "picture",
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "index", name="pk_picture"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_picture_job_id_job"),
    )
    op.create_index("ix_picture_sha256", "picture", ["sha256"])
    op.create_table(
        "fact",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fact"),
    )


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.String(13), nullable=False),
        sa.Column("checksum", sa.String(32), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        *_what_was_asked(),
        sa.Column("progress_channel_id", sa.BigInteger),
        sa.Column("progress_message_id", sa.BigInteger),
        sa.Column("post_message_id", sa.BigInteger),
        sa.Column("post_nonce", sa.String(25)),
        sa.Column("post_started_at", sa.BigInteger),
        sa.Column("post_nonce_at", sa.BigInteger),
        sa.Column("error_code", sa.Text),
        sa.Column("error_text", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("rendered_at", sa.BigInteger),
        sa.Column("posted_at", sa.BigInteger),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("device_seconds", sa.Float),
        sa.PrimaryKeyConstraint("seq", name="pk_job"),
        sa.UniqueConstraint("id", name="uq_job_id"),
        sa.UniqueConstraint(
            "interaction_id", "repeat_index", name="uq_job_interaction_id_repeat_index"
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name="fk_job_parent_id_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_state_seq", "job", ["state", "seq"])
    op.create_index("ix_job_requester_id_seq", "job", ["requester_id", "seq"])
    op.create_index("ix_job_guild_id_seq", "job", ["guild_id", "seq"])
    for column in ("parent_id", "post_message_id", "progress_message_id", "source_sha256"):
        op.create_index(f"ix_job_{column}", "job", [column])


def _what_was_asked() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("prompt_folded", sa.Text, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("requester_id", sa.BigInteger, nullable=False),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("interaction_id", sa.BigInteger, nullable=False),
        sa.Column("parent_id", sa.String(13)),
        sa.Column("parent_index", sa.Integer),
        sa.Column("repeat_index", sa.Integer, nullable=False),
        sa.Column("locale", sa.Text, nullable=False),
        sa.Column("source_sha256", sa.String(64)),
    )
