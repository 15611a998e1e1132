import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/**
 * Operations of JDBC, one line of output each: its name, a tab, and a canonical record of what came of it. Arguments: port and
 * database of a server to which postgres may connect without a password. Each operation has a connection of its own.
 */
public class Operations {
    interface Work {
        Object run(Connection connection) throws Exception;
    }

    static String port;
    static String database;
    static final Map<String, Work> OPERATIONS = new LinkedHashMap<>();
    static final Map<String, String> PARAMETERS = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        port = arguments[0];
        database = arguments[1];
        values();
        errors();
        statements();
        transactions();
        copies();
        others();
        connections();
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (Map.Entry<String, Work> operation : OPERATIONS.entrySet()) {
            String record;
            try (Connection connection = connect(PARAMETERS.getOrDefault(operation.getKey(), ""))) {
                record = shown(operation.getValue().run(connection));
            } catch (Exception error) {
                record = told(error);
            }
            if (record.length() > 20000) {
                byte[] digest = MessageDigest.getInstance("MD5").digest(record.getBytes(StandardCharsets.UTF_8));
                record = record.length() + " " + HexFormat.of().formatHex(digest);
            }
            record = record.replaceAll("pg_temp_\\d+", "pg_temp").replace("\n", "\\n").replace(database, "DATABASE").replace(port, "PORT");
            out.println(operation.getKey() + "\t" + record);
        }
    }

    static Connection connect(String parameters) throws SQLException {
        return DriverManager.getConnection(
            "jdbc:postgresql://127.0.0.1:" + port + "/" + database + "?user=postgres&sslmode=disable" + parameters);
    }

    static void add(String name, Work work) {
        if (OPERATIONS.put(name, work) != null) {
            throw new AssertionError(name);
        }
    }

    /** An error with all of its fields. */
    static String told(Throwable error) {
        StringBuilder out = new StringBuilder(error.getClass().getSimpleName());
        if (error instanceof SQLException) {
            out.append(' ').append(((SQLException) error).getSQLState());
        }
        ServerErrorMessage fields = error instanceof PSQLException ? ((PSQLException) error).getServerErrorMessage() : null;
        if (fields == null) {
            return out.append(' ').append(error.getMessage()).toString();
        }
        out.append(Arrays.asList(fields.getSeverity(), fields.getMessage(), fields.getDetail(), fields.getHint(),
            fields.getPosition(), fields.getInternalPosition(), fields.getInternalQuery(), fields.getWhere(),
            fields.getSchema(), fields.getTable(), fields.getColumn(), fields.getDatatype(), fields.getConstraint(),
            fields.getFile(), fields.getLine(), fields.getRoutine()));
        return out.toString();
    }

    static String shown(Object value) throws Exception {
        if (value instanceof ResultSet) {
            return rows((ResultSet) value);
        }
        if (value instanceof byte[]) {
            return HexFormat.of().formatHex((byte[]) value);
        }
        if (value instanceof Array) {
            return Arrays.deepToString((Object[]) ((Array) value).getArray());
        }
        if (value instanceof Object[]) {
            return shown(Arrays.asList((Object[]) value));
        }
        if (value instanceof int[]) {
            return Arrays.toString((int[]) value);
        }
        if (value instanceof List) {
            List<String> all = new ArrayList<>();
            for (Object one : (List<?>) value) {
                all.add(shown(one));
            }
            return all.toString();
        }
        return String.valueOf(value);
    }

    static String rows(ResultSet result) throws Exception {
        ResultSetMetaData data = result.getMetaData();
        List<Object> all = new ArrayList<>();
        for (int n = 1; n <= data.getColumnCount(); n++) {
            all.add(data.getColumnLabel(n) + ":" + data.getColumnTypeName(n) + ":" + data.getPrecision(n) + ":" + data.getScale(n));
        }
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int n = 1; n <= data.getColumnCount(); n++) {
                row.add(result.getObject(n));
            }
            all.add(row);
        }
        return shown(all);
    }

    static String query(Connection connection, String text) throws Exception {
        try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(text)) {
            return rows(result);
        }
    }

    static void execute(Connection connection, String... texts) throws SQLException {
        for (String text : texts) {
            try (Statement statement = connection.createStatement()) {
                statement.execute(text);
            }
        }
    }

    /** What a statement that may fail is told. */
    static String attempt(Connection connection, String text) {
        try (Statement statement = connection.createStatement()) {
            return statement.execute(text) ? rows(statement.getResultSet()) : String.valueOf(statement.getUpdateCount());
        } catch (Exception error) {
            return told(error);
        }
    }

    static void values() {
        byte[] bytes = new byte[256];
        for (int n = 0; n < 256; n++) {
            bytes[n] = (byte) n;
        }
        Object[][] values = {
            {"int2", (short) -3}, {"int4", Integer.MIN_VALUE}, {"int8", Long.MAX_VALUE}, {"float4", 1.5f}, {"float8", 0.1},
            {"numeric", new BigDecimal("123456789.000000001")}, {"bool", true}, {"text", "gr\u00fcn \u20ac \ud83d\udc18"},
            {"varchar", ""}, {"bytea", bytes}, {"uuid", new UUID(0, 7)}, {"date", LocalDate.of(2024, 2, 29)},
            {"time", LocalTime.of(23, 59, 59)}, {"timestamp", LocalDateTime.of(1999, 12, 31, 23, 59, 59)},
            {"timestamptz", OffsetDateTime.parse("2024-07-01T00:00:00Z")}, {"int4[]", new Integer[] {1, null, 3}},
            {"text[]", new String[] {"a", "b\"", "{}"}}, {"null", null},
        };
        for (Object[] value : values) {
            String type = value[1] == null ? "text" : (String) value[0];
            // From the first execution on the server has a named statement, and answers are binary.
            for (String how : new String[] {"text", "binary"}) {
                String name = "value " + how + " " + value[0];
                PARAMETERS.put(name, how.equals("binary") ? "&prepareThreshold=-1" : "&binaryTransfer=false");
                add(name, connection -> {
                    try (PreparedStatement statement = connection.prepareStatement("select ?::" + type + " as v")) {
                        List<Object> seen = new ArrayList<>();
                        for (int n = 0; n < 3; n++) {
                            Object parameter = value[1] instanceof Object[]
                                ? connection.createArrayOf(type.replace("[]", ""), (Object[]) value[1]) : value[1];
                            statement.setObject(1, parameter);
                            seen.add(rows(statement.executeQuery()));
                        }
                        return seen;
                    }
                });
            }
        }
        add("value long", connection -> {
            try (PreparedStatement statement = connection.prepareStatement("select ?::text, ?::bytea")) {
                statement.setString(1, "z".repeat(400_000));
                statement.setBinaryStream(2, new ByteArrayInputStream(new byte[300_000]));
                return rows(statement.executeQuery());
            }
        });
        add("value null byte", connection -> {
            try (PreparedStatement statement = connection.prepareStatement("select ?::text")) {
                statement.setString(1, "a\0b");
                return statement.executeQuery();
            }
        });
    }

    static void errors() {
        String[][] errors = {
            {"syntax", "selec 1"}, {"table", "select * from nowhere"}, {"division", "select 1/0"},
            {"unique", "insert into things values (1, 'again')"}, {"check", "insert into things values (-1, 'x')"},
            {"not null", "insert into things values (null, 'x')"}, {"foreign key", "insert into parts values (77)"},
            {"function", "select deep(3)"}, {"domain", "select (-1)::positive"}, {"several", "select 1; select 1/0; select 3"},
            {"raise", "do $$ begin raise 'told' using errcode = 'P0099', detail = 'd', hint = 'h', column = 'c', constraint = "
                + "'k', datatype = 't', table = 'ta', schema = 's'; end $$"},
        };
        for (String[] error : errors) {
            add("error " + error[0], connection -> Arrays.asList(attempt(connection, error[1]), query(connection, "select 1")));
        }
        add("error prepared", connection -> {
            List<String> seen = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement("select 10 / ?")) {
                for (int n = 6; n >= -6; n--) {
                    statement.setInt(1, n);
                    try {
                        seen.add(rows(statement.executeQuery()));
                    } catch (PSQLException failure) {
                        seen.add(told(failure));
                    }
                }
            }
            return seen;
        });
    }

    static void statements() {
        String[][] statements = {
            {"empty", ""}, {"no columns", "select"}, {"explain", "explain (costs off) values (1), (2)"},
            {"many rows", "select n, n * 2 as m from generate_series(1, 20000) n"}, {"large", "select repeat('r', 1000000) as r"},
            {"insert", "insert into things values (7, 'g')"}, {"delete", "delete from things where id = 7 returning name"},
            {"show", "show datestyle"}, {"do", "do $$ begin null; end $$"}, {"create", "create temp table t (a int)"},
        };
        for (String[] statement : statements) {
            add("statement " + statement[0], connection -> attempt(connection, statement[1]));
        }
        add("statement several", connection -> {
            List<Object> seen = new ArrayList<>();
            try (Statement statement = connection.createStatement()) {
                boolean isResult = statement.execute("select 1 as a; update things set name = name; select 2 as b, 3 as c");
                while (isResult || statement.getUpdateCount() != -1) {
                    seen.add(isResult ? rows(statement.getResultSet()) : statement.getUpdateCount());
                    isResult = statement.getMoreResults();
                }
            }
            return seen;
        });
        add("generated keys", connection -> {
            execute(connection, "create temp table k (id serial, v text)");
            try (PreparedStatement statement =
                     connection.prepareStatement("insert into k (v) values (?), (?)", Statement.RETURN_GENERATED_KEYS)) {
                statement.setString(1, "a");
                statement.setString(2, "b");
                return Arrays.asList(statement.executeUpdate(), rows(statement.getGeneratedKeys()));
            }
        });
        add("call", connection -> {
            try (CallableStatement statement = connection.prepareCall("{? = call upper(?)}")) {
                statement.registerOutParameter(1, Types.VARCHAR);
                statement.setString(2, "shout");
                statement.execute();
                return statement.getString(1);
            }
        });
        add("notices", connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.execute("do $$ begin raise notice 'one'; raise warning 'two' using hint = 'h'; end $$");
                List<String> heard = new ArrayList<>();
                for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning()) {
                    heard.add(w.getSQLState() + " " + w.getMessage());
                }
                return heard;
            }
        });
        add("catalog", connection -> Arrays.asList(
            rows(connection.getMetaData().getColumns(null, "public", "things", null)),
            rows(connection.getMetaData().getPrimaryKeys(null, "public", "things"))));
        add("versions", connection -> Arrays.asList(connection.getMetaData().getDatabaseProductVersion(),
            connection.getMetaData().getDatabaseMajorVersion()));
        add("described", connection -> {
            try (PreparedStatement statement = connection.prepareStatement("select ?::int + ?::numeric as sum, ?::text")) {
                List<Object> types = new ArrayList<>();
                for (int n = 1; n <= 3; n++) {
                    types.add(statement.getParameterMetaData().getParameterTypeName(n));
                    types.add(n < 3 ? statement.getMetaData().getColumnTypeName(n) : "");
                }
                return types;
            }
        });
        for (String rewritten : new String[] {"", "&reWriteBatchedInserts=true"}) {
            String name = "batch" + (rewritten.isEmpty() ? "" : " rewritten");
            PARAMETERS.put(name, rewritten);
            add(name, connection -> {
                execute(connection, "create temp table b (n int, t text)");
                try (PreparedStatement statement = connection.prepareStatement("insert into b values (?, ?)")) {
                    for (int n = 0; n < 1000; n++) {
                        statement.setInt(1, n);
                        statement.setString(2, "row " + n);
                        statement.addBatch();
                    }
                    return Arrays.asList(statement.executeBatch(), query(connection, "select count(*), sum(n) from b"));
                }
            });
        }
        add("batch with an error", connection -> {
            execute(connection, "create temp table b (n int primary key)");
            try (PreparedStatement statement = connection.prepareStatement("insert into b values (?)")) {
                for (int n : new int[] {1, 2, 2, 3}) {
                    statement.setInt(1, n);
                    statement.addBatch();
                }
                statement.executeBatch();
                return "no error";
            } catch (BatchUpdateException failure) {
                return Arrays.asList(failure.getUpdateCounts(), told(failure.getNextException()),
                    query(connection, "select count(*) from b"));
            }
        });
        add("prepared plan changes", connection -> {
            execute(connection, "create temp table changing (a int)");
            List<String> seen = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement("select * from changing where 1 = ?")) {
                for (int n = 0; n < 9; n++) {
                    if (n == 7) {
                        execute(connection, "alter table changing add b text");
                    }
                    statement.setInt(1, n);
                    try {
                        seen.add(rows(statement.executeQuery()));
                    } catch (PSQLException failure) {
                        seen.add(told(failure));
                    }
                }
            }
            return seen;
        });
        add("many prepared", connection -> {
            List<Object> seen = new ArrayList<>();
            for (int round = 0; round < 6; round++) {
                for (int n = 0; n < 60; n++) {
                    try (PreparedStatement statement = connection.prepareStatement("select ? + " + n)) {
                        statement.setInt(1, round);
                        ResultSet result = statement.executeQuery();
                        result.next();
                        seen.add(result.getInt(1));
                    }
                }
            }
            return seen;
        });
        add("fetch size", connection -> {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(100);
                ResultSet result = statement.executeQuery("select n from generate_series(1, 1050) n");
                long sum = 0;
                while (result.next()) {
                    sum += result.getInt(1);
                }
                connection.commit();
                return sum;
            }
        });
        add("scrolling", connection -> {
            try (Statement statement =
                     connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
                ResultSet result = statement.executeQuery("select * from things where id = 2");
                result.last();
                result.updateString("name", "two");
                result.updateRow();
                return Arrays.asList(result.getRow(), result.getString("name"));
            }
        });
        add("refcursor", connection -> {
            connection.setAutoCommit(false);
            try (CallableStatement statement = connection.prepareCall("{? = call open_cursor('r')}")) {
                statement.registerOutParameter(1, Types.REF_CURSOR);
                statement.execute();
                return statement.getObject(1);
            }
        });
    }

    static void transactions() {
        add("transaction commit", connection -> {
            connection.setAutoCommit(false);
            execute(connection, "insert into things values (80, 'kept')");
            connection.commit();
            String seen = query(connection, "delete from things where id = 80 returning name");
            connection.commit();
            return seen;
        });
        add("transaction savepoints", connection -> {
            connection.setAutoCommit(false);
            execute(connection, "insert into things values (81, 'a')");
            Savepoint point = connection.setSavepoint("here");
            String failed = attempt(connection, "insert into things values (81, 'b')");
            connection.rollback(point);
            connection.releaseSavepoint(point);
            String seen = query(connection, "select * from things where id = 81");
            connection.rollback();
            return Arrays.asList(failed, seen, query(connection, "select count(*) from things where id = 81"));
        });
        add("transaction failed", connection -> {
            connection.setAutoCommit(false);
            List<String> seen = new ArrayList<>();
            for (String text : new String[] {"select 1/0", "select 1"}) {
                seen.add(attempt(connection, text));
            }
            try {
                connection.commit();
            } catch (SQLException failure) {
                seen.add(told(failure));
            }
            connection.rollback();
            seen.add(attempt(connection, "select 1"));
            return seen;
        });
        add("transaction serializable", connection -> {
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            connection.setReadOnly(true);
            connection.setAutoCommit(false);
            String seen = query(connection, "select current_setting('transaction_isolation'), "
                + "current_setting('transaction_read_only')");
            return Arrays.asList(seen, attempt(connection, "insert into things values (82, 'x')"));
        });
        PARAMETERS.put("transaction autosave", "&autosave=always");
        add("transaction autosave", connection -> {
            connection.setAutoCommit(false);
            String failed = attempt(connection, "select 1/0");
            String seen = query(connection, "select 1");
            connection.rollback();
            return Arrays.asList(failed, seen);
        });
    }

    static void copies() {
        String[][] ins = {
            {"text", "copy copied from stdin", "1\ta\n2\tb\n"}, {"csv", "copy copied from stdin (format csv)", "1,\"a,b\"\n2,\n"},
            {"bad row", "copy copied from stdin", "1\ta\nx\tb\n"}, {"no table", "copy nowhere from stdin", "1\n"},
            {"nothing", "copy copied from stdin", ""},
        };
        for (String[] in : ins) {
            add("copy in " + in[0], connection -> {
                execute(connection, "create temp table copied (a int, b text)");
                CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
                Object came;
                try {
                    came = copy.copyIn(in[1], new StringReader(in[2]));
                } catch (PSQLException failure) {
                    came = told(failure);
                }
                return Arrays.asList(came, query(connection, "select * from copied order by a"));
            });
        }
        String[][] outs = {
            {"text", "copy (select n, 'v' || n from generate_series(1, 3000) n) to stdout"},
            {"binary", "copy (select n, 'v' || n from generate_series(1, 300) n) to stdout (format binary)"},
            {"error within", "copy (select 10 / (3 - n) from generate_series(1, 5) n) to stdout"},
        };
        for (String[] out : outs) {
            add("copy out " + out[0], connection -> {
                CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
                ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                Object came;
                try {
                    came = copy.copyOut(out[1], bytes);
                } catch (PSQLException failure) {
                    came = told(failure);
                }
                return Arrays.asList(came, bytes.toByteArray(), query(connection, "select 1"));
            });
        }
    }

    static void others() {
        add("listen and notify", connection -> {
            execute(connection, "listen told", "notify told, 'one'");
            try (Connection other = connect("")) {
                execute(other, "notify told, 'two'");
            }
            List<String> heard = new ArrayList<>();
            while (heard.size() < 2) {
                PGNotification[] all = connection.unwrap(PGConnection.class).getNotifications(20000);
                if (all == null || all.length == 0) {
                    break;
                }
                for (PGNotification one : all) {
                    heard.add(one.getName() + " " + one.getParameter());
                }
            }
            return heard;
        });
        add("cancel", connection -> {
            try (Statement statement = connection.createStatement()) {
                Thread canceler = new Thread(() -> {
                    try (Connection other = connect("")) {
                        // Until the statement is seen to run.
                        while (!query(other, "select count(*) from pg_stat_activity where datname = current_database() and query "
                            + "like 'select pg_sleep(61)%' and state = 'active'").endsWith("[1]]")) {
                            Thread.sleep(5);
                        }
                        statement.cancel();
                    } catch (Exception failure) {
                        throw new AssertionError(failure);
                    }
                });
                canceler.start();
                String answer;
                try {
                    answer = rows(statement.executeQuery("select pg_sleep(61)"));
                } catch (PSQLException failure) {
                    answer = told(failure);
                }
                canceler.join();
                return Arrays.asList(answer, query(connection, "select 1"));
            }
        });
        add("query timeout", connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                return statement.executeQuery("select pg_sleep(60)");
            }
        });
        add("statement timeout", connection -> {
            execute(connection, "set statement_timeout = '50ms'");
            return Arrays.asList(attempt(connection, "select pg_sleep(60)"), query(connection, "select 1"));
        });
        add("large object", connection -> {
            connection.setAutoCommit(false);
            LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO();
            byte[] content = new byte[100_000];
            Arrays.fill(content, (byte) 9);
            try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
                object.write(content);
                object.seek(99_990);
                object.write("end".getBytes(StandardCharsets.UTF_8));
                object.seek(0);
                content = object.read(200_000);
                object.truncate(10);
            }
            String size = query(connection, "select length(lo_get(" + oid + "))");
            manager.delete(oid);
            connection.commit();
            return Arrays.asList(content.length, new String(content, 99_985, 15, StandardCharsets.ISO_8859_1), size);
        });
        add("client information", connection -> {
            Properties properties = new Properties();
            properties.setProperty("ApplicationName", "renamed");
            connection.setClientInfo(properties);
            connection.setSchema("pg_catalog");
            return query(connection, "select current_setting('application_name'), current_schema()");
        });
        add("parameter status", connection -> {
            execute(connection, "set time zone 'Asia/Kolkata'", "set intervalstyle = 'iso_8601'");
            return connection.unwrap(PGConnection.class).getParameterStatuses().toString();
        });
        add("valid", connection -> Arrays.asList(connection.isValid(5), connection.getCatalog(), connection.getSchema()));
        add("terminated", connection -> {
            connection.setAutoCommit(false);
            String pid = query(connection, "select pg_backend_pid()::text").replaceAll(".*\\[(\\d+)\\]\\]", "$1");
            try (Connection other = connect("")) {
                query(other, "select pg_terminate_backend(" + pid + ", 10000)");
            }
            return Arrays.asList(attempt(connection, "select 1"), connection.isValid(5));
        });
        add("reconnect", connection -> {
            execute(connection, "create temp table mine (a int)", "set work_mem = '9MB'");
            connection.close();
            List<String> seen = new ArrayList<>();
            for (int n = 0; n < 8; n++) {
                try (Connection again = connect("")) {
                    seen.add(query(again, "select to_regclass('pg_temp.mine')::text, current_setting('work_mem')"));
                }
            }
            return seen;
        });
    }

    static void connections() {
        String[][] connections = {
            {"plain", ""}, {"application name", "&ApplicationName=mine"}, {"wrong role", "&user=nobody_at_all"},
            {"schema", "&currentSchema=pg_catalog"}, {"options", "&options=-c%20work_mem=7MB"}, {"primary", "&targetServerType=primary"},
            {"simple queries", "&preferQueryMode=simple"}, {"extended queries", "&preferQueryMode=extended"},
            {"read only", "&readOnly=true"},
        };
        for (String[] connection : connections) {
            PARAMETERS.put("connection " + connection[0], connection[1]);
            add("connection " + connection[0], one -> query(one, "select current_setting('application_name'), current_schema(), "
                + "current_setting('work_mem'), current_setting('extra_float_digits'), current_user"));
        }
    }
}
