"""The store on a farm's database: a real PostgreSQL, started here from Debian's package (`apt install postgresql`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from potminer.base.errors import AlreadyRunning, ConfigError
from potminer.world.store.chain import Applied, Head
from potminer.world.store.migrate import VERSION
from potminer.world.store.store import Store, StoreError
from tests.contract.test_store import applied, digest


def binaries() -> Path:
    """Where initdb and postgres lie."""
    known = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)]
    found = shutil.which("postgres")
    places = [*known, *([Path(found).parent] if found else [])]
    if not places:
        pytest.skip("PostgreSQL is not installed here; .ci/run installs it")
    return places[0]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that listens on a socket in a folder of its own; as root it runs as the user postgres."""
    bin = binaries()
    home = Path(tempfile.mkdtemp(prefix="potminer-pg-"))
    user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(home, "postgres", "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    command = [*user, str(bin / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=home)
    options = f"-k {home} -c listen_addresses= -c fsync=off -c shared_buffers=8MB -c max_connections=8"
    control = [*user, str(bin / "pg_ctl"), "-D", str(home / "data"), "-w", "-t", "60"]
    start = [*control, "-o", options, "-l", str(home / "log"), "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, timeout=90, cwd=home)
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={home}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, timeout=90, cwd=home)
        shutil.rmtree(home)


def schema(server: str, name: str) -> str:
    """One rig's own place in the farm's database."""
    import psycopg

    host = server.partition("host=")[2]
    with psycopg.connect(f"host={host} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server}&options=-csearch_path%3D{name}"


async def test_a_chain_lives_in_a_farms_database_if_postgresql_is_installed(server: str) -> None:
    where = schema(server, "rig_07")
    async with Store.open(where, rules=1) as store:
        await store.append(applied(0, (b"a", b"1"), (b"\x00\xff", b"2"), rules=1))
        receipts = [(digest(7), 0, "accepted", ""), (digest(8), 1, "refused", "nonce")]
        await store.append(applied(1, (b"a", None), (b"\x00\xff", b"3"), (b"c", b"4"), receipts=receipts,
                                   facts=[(5, "Kind", '{"a":1}')], proofs=[("outcomes", 1, b"p")]))  # fmt: skip
        await store.append(applied(2, (b"c", b"5"), receipts=[(digest(8), 0, "accepted", "")],
                                   proofs=[("outcomes", 2, b"q")]))  # fmt: skip
        await store.persist([(b"key", b"one"), (b"gone", b"x")])
        await store.persist([(b"key", b"two"), (b"gone", None)])
        await store.save_addresses([b"peer"])
        with pytest.raises(AssertionError):
            await store.append(applied(9))
    async with Store.open(where, rules=1) as store:
        assert await store.head() == Head(2, digest(2), digest(1_002), 10)
        assert await store.load_state() == {b"\x00\xff": b"3", b"c": b"5"}
        assert await store.receipt(digest(8)) == (2, 0, "accepted", "")
        assert await store.load_journal() == {b"key": b"two"}
        assert await store.load_addresses() == [b"peer"]
        assert await store.facts(5) == [(5, "Kind", '{"a":1}')]
        assert [await store.proof("outcomes", height) for height in (1, 2)] == [b"p", b"q"]
        assert len(await store.blocks(1, 10, 1_000)) == 2


async def test_takings_add_up_in_it_if_postgresql_is_installed(server: str) -> None:
    where = schema(server, "takings")
    row = (86_400_000, digest(1), "0000:01:00.0", (9, 5, 1, 0, 0, 1, 0, 7))
    async with Store.open(where) as store:
        await store.append(applied(0, takings=[row]))
        await store.append(applied(1, takings=[row, (0, digest(1), "", (1, 0, 0, 0, 0, 0, 0, 0))]))
        with pytest.raises(AssertionError):
            await store.append(Applied(7, digest(7), digest(7), 0, b"", b"", takings=[row]))
    async with Store.open(where) as store:
        assert await store.takings() == [
            (0, digest(1), "", (1, 0, 0, 0, 0, 0, 0, 0)),
            (*row[:3], tuple(2 * amount for amount in row[3])),
        ]


async def test_one_node_a_schema_and_rigs_side_by_side_if_postgresql_is_installed(server: str) -> None:
    one, two = schema(server, "one"), schema(server, "two")
    async with Store.open(one), Store.open(two) as other:
        with pytest.raises(AlreadyRunning):
            async with Store.open(one):
                pass
        await other.append(applied(0))
    async with Store.open(one) as store:
        assert await store.head() is None, "what the other rig wrote is its own"


async def test_what_is_not_ours_or_newer_is_left_alone_if_postgresql_is_installed(server: str) -> None:
    import psycopg

    where = schema(server, "newer")
    async with Store.open(where):
        pass
    host = server.partition("host=")[2]
    with psycopg.connect(f"host={host} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("UPDATE newer.schema_version SET version = %s", (VERSION + 1,))
        connection.execute("CREATE SCHEMA foreign_tables")
        connection.execute("CREATE TABLE foreign_tables.customers (id int)")
    for name in ("newer", "foreign_tables"):
        with pytest.raises(ConfigError):
            async with Store.open(f"{server}&options=-csearch_path%3D{name}"):
                pass


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql+psycopg://nobody:secret@/none?host=/nonexistent-socket", StoreError),
        ("postgresql+nodriver://host/x", ConfigError),
        ("no url at all://", ConfigError),
    ],
)
async def test_a_database_that_cannot_be_reached_is_said_without_its_password(url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        async with Store.open(url):
            pass
    assert "secret" not in str(caught.value)
