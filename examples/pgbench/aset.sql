-- Several statements in one message, their values kept.
\set aid random(1, 100000 * :scale)
SELECT abalance AS balance FROM pgbench_accounts WHERE aid = :aid \; SELECT 7 AS seven \aset
UPDATE pgbench_accounts SET abalance = :balance + :seven - 7 WHERE aid = :aid;
