"""Bringing a database file up to this version, before anything else touches it.

The file is checked, then every missing migration runs in one transaction: a process that dies in
the middle leaves the old schema, one that finishes the new, and there is nothing between. A file
from a newer Easel, or one that is damaged, is refused and left as it is. Everything here blocks;
the store calls it in a thread.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from storage.database import PRAGMAS, begin_immediately, database_url, set_pragmas
from storage.errors import StorageError
from storage.failures import damaged, translate
from storage.soundness import check_age, check_columns, examine
from storage.witness import Mark

SCRIPTS: Final = Path(__file__).parent / "migrations"
# Alembic hands its settings to the scripts through globals of its own.
_ALEMBIC_TURN: Final = threading.Lock()


def prepare_database(path: Path, seen: Mark | None = None) -> None:
    """Check the file, also against what the witness saw, and run the missing migrations."""
    engine = create_engine(
        database_url(path, driver="sqlite"),
        poolclass=NullPool,
        connect_args={"isolation_level": None},
        hide_parameters=True,
    )
    set_pragmas(engine, PRAGMAS)
    begin_immediately(engine)
    try:
        if not is_new(path):
            sound = examine(path)
            check_age(sound, seen, path)
            if sound.revision == ScriptDirectory(str(SCRIPTS)).get_current_head():
                check_columns(path)
        _use_write_ahead_log(engine, path)
        with engine.begin() as connection:
            migrate(connection)
    except DBAPIError as error:
        raise translate(error, path) from error
    except UnicodeDecodeError as error:
        # The driver fails so when SQLite's own complaint quotes damaged bytes.
        raise damaged(path) from error
    except CommandError as error:
        raise StorageError(
            f"{path} has a schema this Easel does not know ({error}); it was probably made by a "
            "newer version. Install that one, or give this one a folder of its own."
        ) from error
    finally:
        engine.dispose()


def is_new(path: Path) -> bool:
    """Say whether there is no database at this path, or one that nothing was ever written to."""
    return not path.exists() or path.stat().st_size == 0


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run the missing migrations in the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC_TURN:
        command.upgrade(config, revision)


def schema_revisions(connection: Connection) -> tuple[str | None, str | None]:
    """Return the file's revision and the newest one known here."""
    scripts = ScriptDirectory(str(SCRIPTS))
    current = MigrationContext.configure(connection).get_current_revision()
    return current, scripts.get_current_head()


def _use_write_ahead_log(engine: Engine, path: Path) -> None:
    # The mode cannot change inside a transaction, so this one statement bypasses the engine's.
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        mode = cursor.fetchall()[0][0]
        cursor.close()
    finally:
        connection.close()
    if mode != "wal":
        raise StorageError(
            f"{path} cannot keep a write-ahead log (mode {mode!r}); use a folder on a local disk"
        )
