import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** One session of JDBC over TLS: who it is, COPY both ways, a statement that the server prepares. Takes a URL. */
public class Session {
    public static void main(String[] arguments) throws Exception {
        Connection connection;
        try {
            connection = DriverManager.getConnection(arguments[0]);
        } catch (SQLException error) {
            System.out.println("refused " + error.getSQLState() + ": " + error.getMessage());
            return;
        }
        try (connection) {
            String who = "select current_user || ' ' || version || ' ' || coalesce(client_dn, 'None') from pg_stat_ssl "
                + "where pid = pg_backend_pid()";
            connection.createStatement().execute("create temp table rows (n int, line text)");
            StringBuilder rows = new StringBuilder();
            for (int n = 0; n < 20000; n++) {
                rows.append(n).append("\tline ").append(n).append(" \u20ac\n");
            }
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            check(copy.copyIn("copy rows from stdin", new StringReader(rows.toString())) == 20000);
            StringWriter out = new StringWriter();
            copy.copyOut("copy (select * from rows order by n) to stdout", out);
            check(out.toString().equals(rows.toString()));
            connection.setAutoCommit(false);
            // From the fifth execution on the server has a named statement, and answers are binary.
            try (PreparedStatement statement = connection.prepareStatement("select line from rows where n = ?")) {
                for (int n = 0; n < 10; n++) {
                    statement.setInt(1, n);
                    ResultSet result = statement.executeQuery();
                    check(result.next() && result.getString(1).equals("line " + n + " \u20ac"));
                }
            }
            connection.commit();
            ResultSet result = connection.createStatement().executeQuery(who);
            check(result.next());
            System.out.println("session " + result.getString(1));
        }
    }

    private static void check(boolean holds) {
        if (!holds) {
            throw new AssertionError();
        }
    }
}
