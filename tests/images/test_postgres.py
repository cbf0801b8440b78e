"""The PostgreSQL image that tests use keeps the conventions of docker-library's."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from containers import Container, wait_for


def query(server: Container, sql: str, user: str = "maas", database: str = "maasdb", password: str = "sesame") -> str:
    done = server.run(
        "env", f"PGPASSWORD={password}", "psql", "--host=127.0.0.1", f"--username={user}", "--tuples-only", "--no-align",
        "--command", sql, database, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def test_user_password_file_and_database_are_made_and_kept(
    container: Callable[..., Container], tmp_path: Path
) -> None:
    data, secret, user = tmp_path / "data", tmp_path / "secret", tmp_path / "user"
    data.mkdir()
    secret.write_text("sesame\n")
    user.write_text("maas")
    options = {
        "environment": {
            "POSTGRES_USER_FILE": "/user",
            "POSTGRES_PASSWORD_FILE": "/secret",
            "POSTGRES_DB": "maasdb",
            "PGDATA": "/var/lib/postgresql/data/pgdata",
        },
        "mounts": {"/var/lib/postgresql/data": data, "/secret": secret, "/user": user},
    }
    first = container("postgres", **options)
    wait_for("PostgreSQL", lambda: query(first, "select 1") == "1", evidence=first.evidence)
    query(first, "create table kept (n int); insert into kept values (17)")
    assert query(first, "select rolsuper from pg_roles where rolname = 'maas'") == "t"
    assert query(first, "select 1", password="wrong") == ""
    assert first.run("stat", "--format=%u", "/var/lib/postgresql/data/pgdata").stdout.strip() == "999"
    first.signal(signal.SIGINT)
    assert first.wait() == 0

    # Unprivileged, as a chart runs it, and after a kill.
    second = container("postgres", user=999, read_only=False, **options)
    wait_for("PostgreSQL", lambda: query(second, "select n from kept") == "17", evidence=second.evidence)
    second.signal(signal.SIGKILL)
    second.wait()
    third = container("postgres", user=999, **options)
    wait_for("PostgreSQL", lambda: query(third, "select n from kept") == "17", evidence=third.evidence)
    assert "sesame" not in first.output + second.output + third.output


def test_without_a_password_it_refuses(container: Callable[..., Container]) -> None:
    server = container("postgres")
    assert server.wait() == 1
    assert "POSTGRES_PASSWORD" in server.output
