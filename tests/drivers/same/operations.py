"""Operations of psycopg 3, one line of output each: its name, a tab, and a canonical record of what came of it.

Arguments: port and database of a server to which postgres may connect without a password. Each operation has a
connection of its own.
"""

import datetime
import decimal
import hashlib
import json
import sys
import threading
import uuid
from ipaddress import ip_address, ip_network

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

TARGET = f"host=127.0.0.1 port={sys.argv[1]} dbname={sys.argv[2]} user=postgres application_name=same"
OPERATIONS = []

FIELDS = [
    "severity", "severity_nonlocalized", "sqlstate", "message_primary", "message_detail", "message_hint",
    "statement_position", "internal_position", "internal_query", "context", "schema_name", "table_name", "column_name",
    "datatype_name", "constraint_name", "source_file", "source_line", "source_function",
]


def fields(diagnostic):
    """All fields of an error or a notice that are there."""
    return {name: getattr(diagnostic, name) for name in FIELDS if getattr(diagnostic, name) is not None}


def connect(extra="", **options):
    return psycopg.connect(f"{TARGET} {extra}", autocommit=True, **options)


def operation(function, name=None):
    OPERATIONS.append((name or function.__name__, function))
    return function


def table(entries, prefix, make):
    for name, *arguments in entries:
        operation(make(*arguments), f"{prefix} {name}")


def rows(cursor):
    """What a result says of itself, and its rows."""
    columns = [(c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cursor.description or []]
    return cursor.statusmessage, columns, cursor.fetchall() if cursor.description else None


# Values of many types, there and back in both formats.
VALUES = [
    ("int2", "int2", 32767), ("int4", "int4", -2147483648), ("int8", "int8", 9223372036854775807),
    ("float4", "float4", 1.5), ("float8", "float8", 0.1), ("nan", "float8", float("nan")),
    ("infinity", "float8", float("-inf")), ("numeric", "numeric", decimal.Decimal("123456789.000000001")),
    ("numeric nan", "numeric", decimal.Decimal("NaN")), ("bool", "bool", True), ("text", "text", "gr\u00fcn \u20ac \U0001f418"),
    ("empty text", "text", ""), ("long text", "text", "x" * 200_000), ("bytea", "bytea", bytes(range(256))),
    ("null", "text", None), ("uuid", "uuid", uuid.UUID(int=7)), ("date", "date", datetime.date(2024, 2, 29)),
    ("time", "time", datetime.time(23, 59, 59, 999999)),
    ("timestamp", "timestamp", datetime.datetime(1999, 12, 31, 23, 59, 59, 1)),
    ("timestamptz", "timestamptz", datetime.datetime(2024, 7, 1, tzinfo=datetime.timezone.utc)),
    ("interval", "interval", datetime.timedelta(days=3, microseconds=5)), ("jsonb", "jsonb", Jsonb({"a": [1, None, "b"]})),
    ("int array", "int4[]", [1, None, 3]), ("text array", "text[]", ["a", 'b"', "{}", None]), ("inet", "inet", ip_address("::1")),
    ("cidr", "cidr", ip_network("10.0.0.0/8")), ("int4range", "int4range", Range(1, 10)), ("empty range", "int4range", Range(empty=True)),
    ("nested array", "int4[]", [[1, 2], [3, 4]]),
]


def value(kind, parameter, binary, prepare):
    def run():
        with connect() as c:
            cursor = c.cursor(binary=binary)
            mark = "%b" if binary else "%t"
            query = f"select {mark}::{kind} as v, pg_typeof({mark}::{kind})::text"
            return rows(cursor.execute(query, (parameter, parameter), prepare=prepare))
    return run


for binary in (False, True):
    shown = "binary" if binary else "text"
    table(VALUES, f"value {shown}", lambda kind, parameter, binary=binary: value(kind, parameter, binary, binary))

# Statements that fail, with every field.
ERRORS = [
    ("syntax", "selec 1"), ("table", "select * from nowhere"), ("column", "select nothing from pg_class"),
    ("division", "select 1/0"), ("cast", "select 'x'::int"), ("unique", "insert into things values (1, 'again')"),
    ("check", "insert into things values (-1, 'x')"), ("not null", "insert into things values (null, 'x')"),
    ("foreign key", "insert into parts values (77)"), ("raise", "do $$ begin raise 'told' using errcode = 'P0099', "
     "detail = 'd', hint = 'h', column = 'c', constraint = 'k', datatype = 't', table = 'ta', schema = 's'; end $$"),
    ("function", "select deep(3)"), ("too long", "select 'toolong'::varchar(3)::int"), ("domain", "select (-1)::positive"),
    ("ambiguous", "select id from things a, things b"), ("null byte", "select chr(0)"), ("encoding", r"select E'\xff'"),
    ("transaction", "vacuum things; select 1"), ("privilege", "set role nobody; select * from things"),
    ("read only", "set transaction_read_only = on; begin read only; insert into things values (8, 'x')"),
]


def error(text):
    def run():
        with connect() as c:
            return rows(c.execute(text))
    return run


table(ERRORS, "error", error)

# Statements that succeed.
STATEMENTS = [
    ("empty", ""), ("comment", "-- nothing"), ("several", "select 1; select 2 as b, 3; update things set name = name"),
    ("no columns", "select"), ("values", "values (1, 'a'), (2, null)"), ("returning", "insert into things values (5, 'e') returning *"),
    ("update", "update things set name = 'z' where id = 5"), ("delete", "delete from things where id = 5"),
    ("explain", "explain (costs off) values (1), (2)"), ("show", "show standard_conforming_strings"),
    ("large", "select repeat('r', 1000000)"), ("many rows", "select n, n * 2 from generate_series(1, 20000) n"),
    ("many columns", "select " + ", ".join(f"{n} as c{n}" for n in range(1600))), ("do", "do $$ begin null; end $$"),
    ("call", "call act(3)"), ("create", "create temp table t (a int)"), ("composite", "select row(1, 'a')"),
    ("set time zone", "set time zone 'Asia/Kolkata'; select timestamptz '2024-01-01 00:00Z'"),
    ("date style", "set datestyle = 'German'; select date '2024-01-31'"), ("lock", "begin; lock things; commit"),
    ("advisory lock", "select pg_advisory_lock(1); select pg_advisory_unlock(1)"),
]


def statement(text):
    def run():
        with connect() as c:
            cursor = c.execute(text)
            results = [rows(cursor)]
            while cursor.nextset():
                results.append(rows(cursor))
            return results, c.info.transaction_status.name
    return run


table(STATEMENTS, "statement", statement)


@operation
def notices():
    with connect() as c:
        told = []
        c.add_notice_handler(lambda diagnostic: told.append(fields(diagnostic)))
        c.execute("do $$ begin raise notice 'one'; raise warning 'two' using hint = 'h'; raise info 'three'; end $$")
        c.execute("set client_min_messages = error; do $$ begin raise notice 'unheard'; end $$")
        return told


@operation
def pipeline():
    with connect() as c, c.pipeline():
        cursors = [c.execute("select %s::int", (n,)) for n in range(50)]
        return [cursor.fetchone() for cursor in cursors]


@operation
def pipeline_with_an_error():
    with connect() as c:
        outcomes = []
        try:
            with c.pipeline() as pipeline:
                first = c.execute("select 1")
                pipeline.sync()
                outcomes.append(first.fetchone())
                c.execute("select 1 / %s::int", (0,))
                c.execute("insert into things values (99, 'never')")
        except psycopg.Error as e:
            outcomes.append(fields(e.diag))
        return outcomes, c.execute("select count(*) from things where id = 99").fetchone()


@operation
def executemany():
    with connect() as c:
        c.execute("create temp table many (a int, b text)")
        cursor = c.cursor()
        cursor.executemany("insert into many values (%s, %s) returning a", [(n, str(n)) for n in range(100)], returning=True)
        returned = [cursor.fetchone()]
        while cursor.nextset():
            returned.append(cursor.fetchone())
        return returned, c.execute("select count(*), sum(a) from many").fetchone()


@operation
def prepared_after_five():
    with connect() as c:
        return [c.execute("select %s::int + 1", (n,)).fetchone() for n in range(12)], \
            c.execute("select count(*) from pg_prepared_statements where name like '\\_pg3%'").fetchone()


@operation
def prepared_sql():
    with connect() as c:
        c.execute("prepare p (int) as select $1 * 2")
        return c.execute("execute p (21)").fetchone(), c.execute("deallocate p").statusmessage


@operation
def prepared_discarded():
    with connect() as c:
        c.prepare_threshold = 0
        first = c.execute("select %s::text", ("a",)).fetchone()
        c.execute("discard all")
        return first, c.execute("select %s::text", ("b",), prepare=False).fetchone()


@operation
def prepared_plan_changes():
    with connect() as c:
        c.execute("create temp table changing (a int)")
        before = rows(c.execute("select * from changing", prepare=True))
        c.execute("alter table changing add b text")
        try:
            return before, rows(c.execute("select * from changing", prepare=True))
        except psycopg.Error as e:
            return before, fields(e.diag)


def transaction(how):
    def run():
        with connect() as c:
            try:
                return how(c), c.info.transaction_status.name
            except psycopg.Error as e:
                return fields(e.diag), c.info.transaction_status.name
    return run


def commit(c):
    with c.transaction():
        c.execute("insert into things values (50, 'kept')")
    return c.execute("delete from things where id = 50 returning name").fetchone()


def roll_back(c):
    with c.transaction(force_rollback=True):
        c.execute("insert into things values (51, 'gone')")
    return c.execute("select count(*) from things where id = 51").fetchone()


def savepoints(c):
    with c.transaction():
        c.execute("insert into things values (52, 'a')")
        try:
            with c.transaction():
                c.execute("insert into things values (52, 'b')")
        except psycopg.errors.UniqueViolation:
            pass
        with c.transaction(force_rollback=True):
            c.execute("delete from things")
        return c.execute("delete from things where id = 52 returning *").fetchall()


def failed(c):
    c.execute("begin")
    states = []
    for text in ("select 1/0", "select 1", "commit"):
        try:
            states.append((c.execute(text).statusmessage, c.info.transaction_status.name))
        except psycopg.Error as e:
            states.append((e.sqlstate, c.info.transaction_status.name))
    return states


def serializable(c):
    c.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    c.read_only = c.deferrable = True
    c.autocommit = False
    shown = c.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only')").fetchone()
    c.rollback()
    return shown


def chain(c):
    return [c.execute(text).statusmessage for text in ("begin", "select 1", "commit and chain", "select 2", "rollback")]


def implicit(c):
    c.execute("create temp table i (a int)")
    try:
        c.execute("insert into i values (1); insert into i values (1/0)")
    except psycopg.Error as e:
        return e.sqlstate, c.execute("select count(*) from i").fetchone()
    return None


def two_phase(c):
    c.execute("begin; insert into things values (60, 'x')")
    c.execute(f"prepare transaction '{sys.argv[2]}'")
    return c.execute(f"rollback prepared '{sys.argv[2]}'").statusmessage


table([(f.__name__, f) for f in (commit, roll_back, savepoints, failed, serializable, chain, implicit, two_phase)],
      "transaction", transaction)


def copy_in(text, write):
    def run():
        with connect() as c:
            c.execute("create temp table copied (a int, b text, c bytea)")
            try:
                with c.cursor() as cursor:
                    with cursor.copy(text) as copy:
                        write(copy)
                    status = cursor.statusmessage, cursor.rowcount
            except Exception as e:  # Also what is raised within.
                status = record(e)
            return status, c.execute("select count(*), sum(a), md5(string_agg(b, '' order by a)) from copied").fetchone()
    return run


def write_rows(copy):
    for n in range(5000):
        copy.write_row((n, f"line {n}\t\\", bytes([n % 256])))


def write_binary(copy):
    copy.set_types(["int4", "text", "bytea"])
    write_rows(copy)


def give_up(copy):
    write_rows(copy)
    raise KeyError("enough")


table([
    ("text", "copy copied from stdin", write_rows),
    ("binary", "copy copied from stdin (format binary)", write_binary),
    ("csv", "copy copied (a, b) from stdin (format csv, header)", lambda copy: copy.write("a,b\n1,\"x\"\"y\"\n2,\n")),
    ("bad row", "copy copied from stdin", lambda copy: copy.write("1\tx\t\\\\x00\nnot a number\ty\t\n")),
    ("missing column", "copy copied from stdin", lambda copy: copy.write("1\n")),
    ("given up", "copy copied from stdin", give_up),
    ("nothing", "copy copied from stdin", lambda copy: None),
    ("no table", "copy nowhere from stdin", write_rows),
], "copy in", copy_in)


def copy_out(text, read):
    def run():
        with connect() as c, c.cursor() as cursor:
            with cursor.copy(text) as copy:
                result = read(copy)
            return result, cursor.statusmessage, c.info.transaction_status.name
    return run


def everything(copy):
    return [bytes(data) for data in copy]


def typed(copy):
    copy.set_types(["int4", "text"])
    return list(copy.rows())


SERIES = "copy (select n, 'v' || n from generate_series(1, 3000) n) to stdout"
table([
    ("text", SERIES, everything), ("rows", SERIES, typed), ("binary", SERIES + " (format binary)", typed),
    ("csv", SERIES + " (format csv, header, force_quote *)", everything),
    ("nothing", "copy (select 1 where false) to stdout", everything),
    ("error within", "copy (select 10 / (3 - n) from generate_series(1, 5) n) to stdout", everything),
], "copy out", copy_out)


def cursor_in(how):
    def run():
        with connect() as c, c.transaction():
            return how(c)
    return run


def server_cursor(c):
    with c.cursor(name="some") as cursor:
        cursor.itersize = 7
        cursor.execute("select n from generate_series(1, %s) n", (30,))
        return list(cursor)


def scrolling(c):
    with c.cursor(name="some", scrollable=True) as cursor:
        cursor.execute("select n from generate_series(1, 10) n")
        cursor.scroll(5)
        ahead = cursor.fetchmany(2)
        cursor.scroll(1, mode="absolute")
        return ahead, cursor.fetchone(), cursor.fetchall()


def declared(c):
    c.execute("declare d cursor for select n from generate_series(1, 5) n")
    return [c.execute("fetch 2 from d").fetchall() for _ in range(3)], c.execute("close d").statusmessage


def positioned(c):
    c.execute("declare d cursor for select * from things for update")
    c.execute("fetch d")
    return c.execute("update things set name = name where current of d").statusmessage


def refcursor(c):
    c.execute("select open_cursor('r')")
    return c.execute("fetch all from r").fetchall()


table([(f.__name__, f) for f in (server_cursor, scrolling, declared, positioned, refcursor)], "cursor", cursor_in)


@operation
def cursor_with_hold():
    with connect() as c:
        c.execute("begin; declare h cursor with hold for select n from generate_series(1, 5) n; commit")
        return c.execute("fetch 3 from h").fetchall(), c.execute("close h").statusmessage


@operation
def stream():
    with connect() as c:
        return list(c.cursor().stream("select n from generate_series(1, %s) n", (300,)))


@operation
def row_factory():
    with connect(row_factory=dict_row) as c:
        return c.execute("select 1 as a, 'x' as b").fetchall()


@operation
def listen_and_notify():
    with connect() as c:
        c.execute("listen told")
        c.execute("notify told, 'one'")
        c.execute("select pg_notify('told', 'two')")
        # Not what connecting told: behind the relay that is another process.
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        own = [(n.channel, n.payload, n.pid == pid) for n in c.notifies(timeout=20, stop_after=2)]
        with connect() as other:
            other.execute("notify told, 'three'")
        return own, [(n.channel, n.payload) for n in c.notifies(timeout=20, stop_after=1)]


@operation
def unlisten():
    with connect() as c:
        c.execute("listen told")
        c.execute("unlisten *")
        c.execute("notify told")
        return c.execute("select pg_listening_channels()").fetchall(), [n.channel for n in c.notifies(timeout=0)]


@operation
def cancel():
    with connect() as c:
        running = threading.Event()
        c.add_notice_handler(lambda diagnostic: running.set())

        def ask():
            running.wait(30)
            c.cancel_safe()
        thread = threading.Thread(target=ask)
        thread.start()
        try:
            c.execute("do $$ begin raise notice 'running'; perform pg_sleep(60); end $$")
        except psycopg.Error as e:
            told = fields(e.diag)
        thread.join()
        return told, c.execute("select 1").fetchone()


@operation
def statement_timeout():
    with connect() as c:
        c.execute("set statement_timeout = '50ms'")
        try:
            c.execute("select pg_sleep(60)")
        except psycopg.Error as e:
            return fields(e.diag), c.execute("select 1").fetchone()


@operation
def lock_timeout():
    with connect() as c, connect() as other:
        with c.transaction():
            c.execute("lock things")
            try:
                other.execute("begin; set local lock_timeout = '50ms'; select * from things")
            except psycopg.Error as e:
                return fields(e.diag)


@operation
def large_object():
    with connect() as c, c.transaction():
        oid = c.execute("select lo_from_bytea(0, %b)", (b"begin",)).fetchone()[0]
        handle = c.execute("select lo_open(%s, 393216)", (oid,)).fetchone()[0]
        end = c.execute("select lo_lseek(%s, 0, 2)", (handle,)).fetchone()
        wrote = c.execute("select lowrite(%s, %b)", (handle, bytes(range(256)) * 100)).fetchone()
        closed = c.execute("select lo_close(%s)", (handle,)).fetchone()
        got = c.execute("select md5(lo_get(%s)), lo_get(%s, 0, 5)", (oid, oid)).fetchone()
        return handle, end, wrote, closed, got, c.execute("select lo_unlink(%s)", (oid,)).fetchone()


@operation
def set_and_show():
    with connect() as c:
        c.execute("set search_path = pg_catalog, pg_temp")
        c.execute("set application_name = 'changed'")
        shown = [c.execute(f"show {name}").fetchone() for name in ("search_path", "application_name", "work_mem")]
        return shown, c.info.parameter_status("application_name"), c.execute("reset all").statusmessage


@operation
def set_local():
    with connect() as c:
        with c.transaction():
            c.execute("set local datestyle = 'SQL, DMY'")
            within = c.execute("select date '2024-01-31'::text").fetchone(), c.info.parameter_status("DateStyle")
        return within, c.execute("select date '2024-01-31'::text").fetchone(), c.info.parameter_status("DateStyle")


ENCODINGS = ["LATIN1", "UTF8", "EUC_JP", "SQL_ASCII"]


def encoding(name):
    def run():
        with connect(f"client_encoding={name}") as c:
            shown = c.execute("show client_encoding").fetchone(), c.info.encoding
            try:
                return shown, c.execute("select chr(252)").fetchone(), c.execute("select chr(26085)").fetchone()
            except psycopg.Error as e:
                return shown, record(e)
    return run


table([(name, name) for name in ENCODINGS], "encoding", encoding)


def connection(extra, text="select current_setting('application_name')"):
    def run():
        with connect(extra) as c:
            parameters = ["server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes", "is_superuser",
                          "session_authorization", "IntervalStyle", "standard_conforming_strings", "application_name"]
            return rows(c.execute(text)), {name: c.info.parameter_status(name) for name in parameters}
    return run


table([
    ("plain", ""), ("application name", "application_name=mine"), ("wrong database", "dbname=nowhere"),
    ("wrong role", "user=nobody_at_all"), ("may not log in", "user=nobody"),
    ("options", "options='-c work_mem=7MB'", "show work_mem"), ("wrong option", "options='-c nothing=1'"),
    ("time zone", "options='-c TimeZone=Asia/Tokyo'", "select timestamptz '2024-01-01 00:00Z'::text"),
    ("date style", "options='-c DateStyle=German'", "select date '2024-01-31'::text"),
    ("bad value", "options='-c TimeZone=Nowhere'"), ("target", "target_session_attrs=read-write"),
    ("standby", "target_session_attrs=standby"),
], "connection", connection)


@operation
def nothing_is_left_to_the_next_session():
    with connect() as c:
        c.execute("set work_mem = '9MB'; create temp table mine (a int); listen here; prepare p as select 1")
        c.execute("set role nobody")
    with connect() as c:
        return [c.execute(text).fetchall() for text in (
            "show work_mem", "select to_regclass('pg_temp.mine')", "select pg_listening_channels()", "select current_user",
            "select count(*) from pg_prepared_statements")]


@operation
def terminated():
    with connect() as c, connect() as other:
        pid = c.execute("select pg_backend_pid()").fetchone()[0]
        c.execute("begin")
        other.execute("select pg_terminate_backend(%s, 10000)", (pid,))
        try:
            c.execute("select 1")
        except psycopg.Error as e:
            return fields(e.diag), c.closed


@operation
def reconnect():
    seen = []
    for n in range(10):
        with connect(f"application_name=n{n}") as c:
            seen.append(c.execute("select current_setting('application_name'), %s::int", (n,)).fetchone())
    return seen


@operation
def closed():
    c = connect()
    c.close()
    try:
        c.execute("select 1")
    except psycopg.Error as e:
        return str(e), c.info.status.name


@operation
def null_byte_in_a_parameter():
    with connect() as c:
        return c.execute("select %b::bytea", (b"a\0b",)).fetchone(), c.execute("select %t::text", ("a\0b",)).fetchone()


@operation
def described():
    with connect() as c:
        prepared = c.pgconn.prepare(b"d", b"select $1::int + $2::numeric as sum, $3::text")
        described = c.pgconn.describe_prepared(b"d")
        return prepared.status, [described.param_type(n) for n in range(described.nparams)], \
            [(described.fname(n), described.ftype(n), described.fmod(n)) for n in range(described.nfields)]


@operation
def single_row_mode():
    with connect() as c:
        c.pgconn.send_query_params(b"select n from generate_series(1, 5) n", None)
        c.pgconn.set_single_row_mode()
        seen = []
        while result := c.pgconn.get_result():
            seen.append((result.status, [result.get_value(n, 0) for n in range(result.ntuples)]))
        return seen


@operation
def composed():
    with connect() as c:
        query = sql.SQL("select {} from {} where {} = {}").format(
            sql.Identifier("name"), sql.Identifier("things"), sql.Identifier("id"), sql.Literal(1))
        return rows(c.execute(query))


@operation
def function_call():
    with connect() as c:
        return c.execute("select * from unnest(%s::int[], %s::text[]) as u (a, b)", ([1, 2], ["x", None])).fetchall()


def record(outcome):
    """An outcome, or an error with its fields, so that two of them can be compared."""
    if isinstance(outcome, psycopg.Error):
        text = str(outcome).replace(sys.argv[1], "PORT").replace(sys.argv[2], "DATABASE") if not outcome.sqlstate else ""
        return type(outcome).__name__, fields(outcome.diag), text
    if isinstance(outcome, Exception):
        return type(outcome).__name__, str(outcome)
    return outcome


for name, run in OPERATIONS:
    try:
        outcome = record(run())
    except Exception as e:  # What comes of an operation is for the comparison.
        outcome = record(e)
    text = json.dumps(repr(outcome))
    print(f"{name}\t{text if len(text) < 20000 else (len(text), hashlib.md5(text.encode()).hexdigest())}".replace(sys.argv[2], "DATABASE"), flush=True)
