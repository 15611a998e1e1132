-- A value read by one statement and used by the next.
\set aid random(1, 100000 * :scale)
SELECT abalance, bid FROM pgbench_accounts WHERE aid = :aid \gset acc_
UPDATE pgbench_accounts SET abalance = :acc_abalance + 1 WHERE aid = :aid;
SELECT count(*) AS branches FROM pgbench_branches WHERE bid = :acc_bid \gset
