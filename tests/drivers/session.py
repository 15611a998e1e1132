"""One session of psycopg 3 over TLS: who it is, COPY both ways, a prepared statement, an error within a pipeline.

The first argument is a connection string. Prints what the server says of the session, or the error's SQLSTATE and text.
"""

import sys

import psycopg

try:
    connection = psycopg.connect(sys.argv[1])
except psycopg.OperationalError as error:
    print(f"refused {error.sqlstate}: {error}")
    sys.exit(0)

with connection:
    assert connection.pgconn.ssl_in_use
    who = connection.execute(
        "select current_user, version, client_dn from pg_stat_ssl where pid = pg_backend_pid()"
    ).fetchone()
    connection.execute("create temp table rows (n int, line text, bytes bytea)")
    rows = [(n, f"line {n}\t\\ \u20ac" * 20, bytes([n % 256]) * 100) for n in range(20000)]
    with connection.cursor() as cursor, cursor.copy("copy rows from stdin") as copy:
        for row in rows:
            copy.write_row(row)
    with connection.cursor() as cursor, cursor.copy("copy (select n, line from rows order by n) to stdout") as copy:
        copy.set_types(["int4", "text"])
        assert [row[:2] for row in rows] == list(copy.rows())
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        for n in range(10):
            query = "select line, bytes from rows where n = %s"
            assert cursor.execute(query, (n,), prepare=True).fetchone() == rows[n][1:]
    connection.commit()
    try:
        with connection.pipeline() as pipeline:
            first = connection.execute("select 1")
            pipeline.sync()
            assert first.fetchone() == (1,)
            connection.execute("select 1 / %s::int", (0,))
            connection.execute("delete from rows")
        raise AssertionError("the error was not told")
    except psycopg.errors.DivisionByZero:
        connection.rollback()
    assert connection.execute("select count(*) from rows").fetchone() == (20000,)
print("session", *who)
