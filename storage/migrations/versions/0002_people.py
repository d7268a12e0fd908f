"""People and communities: what they prefer, keep and report; what jobs start from and stopped at.

No row of `job` changes, so every seal holds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the tables."""
    op.add_column("job", sa.Column("details", sa.Text))
    op.add_column("picture", sa.Column("phash", sa.BigInteger))
    _create_files()
    _create_people()
    _create_favourite()
    _create_report()
    _create_limits()
    op.execute(
        "INSERT INTO source (job_id, sha256) SELECT id, source_sha256 FROM job "
        "WHERE source_sha256 IS NOT NULL AND deleted_at IS NULL"
    )


def _create_files() -> None:
    op.create_table(
        "source",
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "sha256", name="pk_source"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_source_job_id_job"),
    )
    op.create_index("ix_source_sha256", "source", ["sha256"])
    op.create_table(
        "state",
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_state"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_state_job_id_job"),
    )
    op.create_index("ix_state_sha256", "state", ["sha256"])


def _create_people() -> None:
    op.create_table(
        "note",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.String(13), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_note"),
        sa.UniqueConstraint("id", name="uq_note_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_note_user_id_seq", "note", ["user_id", "seq"])
    op.create_table(
        "preference",
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("scope_id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("scope", "scope_id", "key", name="pk_preference"),
    )
    op.create_table(
        "macro",
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name="pk_macro"),
    )


def _create_favourite() -> None:
    op.create_table(
        "favourite",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_favourite"),
        sa.UniqueConstraint("user_id", "job_id", "index", name="uq_favourite_user_id_job_id_index"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_favourite_job_id_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_favourite_user_id_seq", "favourite", ["user_id", "seq"])
    op.create_index("ix_favourite_job_id_index", "favourite", ["job_id", "index"])


def _create_report() -> None:
    op.create_table(
        "report",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.String(13), nullable=False),
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("reporter_id", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("settled_by", sa.BigInteger),
        sa.Column("verdict", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="pk_report"),
        sa.UniqueConstraint("id", name="uq_report_id"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_report_job_id_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_report_guild_id_seq", "report", ["guild_id", "seq"])
    for column in ("job_id", "reporter_id"):
        op.create_index(f"ix_report_{column}", "report", [column])


def _create_limits() -> None:
    op.create_table(
        "ban",
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("banned_by", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name="pk_ban"),
    )
    op.create_table(
        "quota",
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name="pk_quota"),
    )
    for table in ("ban", "quota"):
        op.create_index(f"ix_{table}_user_id", table, ["user_id"])
