-- Whether a new snapshot sees transaction `xid` as committed. The log contains 32 bits of a transaction's id: of all ids
-- with these bits, the one closest to the newest id is meant.
SELECT pg_catalog.pg_visible_in_snapshot((newest + delta)::text::xid8, snapshot) AS visible
  FROM (SELECT snapshot, newest, ((%(xid)s - newest) %% 4294967296 + 6442450944) %% 4294967296 - 2147483648 AS delta
          FROM (SELECT s AS snapshot, pg_catalog.pg_snapshot_xmax(s)::text::numeric AS newest
                  FROM pg_catalog.pg_current_snapshot() AS s) AS now) AS near
