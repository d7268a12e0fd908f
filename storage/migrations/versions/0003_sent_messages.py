"""Messages of ours beside those that a job's row names: copies, pings, notices.

No older row changes. What was sent before is not known, and stays unknown.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "sent_message",
        sa.Column("message_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("job_id", sa.String(13), nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_sent_message"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name="fk_sent_message_job_id_job"),
    )
    for column in ("job_id", "user_id", "sent_at"):
        op.create_index(f"ix_sent_message_{column}", "sent_message", [column])
