"""Edits of a store that no code of ours makes: rows that are gone, rows that nothing has written.

`:x` in a statement is the number of the job that plays x in the rich store.
"""

# ruff: noqa: E501, ISC004 - a table reads best with one edit a row

OF_A_JOB: dict[str, tuple[str, str, str]] = {
    # name: the job that must be named, words of the problem, the edit
    "a question deleted": ("asks", "question", "DELETE FROM questions WHERE job_no = :asks"),
    "a wait for a key deleted": (
        "waits for key", "question", "DELETE FROM questions WHERE job_no = :waits for key"),
    "an alarm deleted": ("alarm", "question", "DELETE FROM questions WHERE job_no = :alarm"),
    "the question about a pause deleted": (
        "paused", "the job is missing", "DELETE FROM questions WHERE job_no = :paused AND step = ''"),
    "a question put in": (
        "asks", "step 77",
        "INSERT INTO questions SELECT job_no, '77', kind, since, title, name, digest, schema, role,"
        " until, details FROM questions WHERE job_no = :asks"),
    "a question about an ended job": (
        "done", "step 1",
        "INSERT INTO questions SELECT :done, step, kind, since, title, name, digest, schema, role,"
        " until, details FROM questions WHERE job_no = :waits for key"),
    "an inbox emptied": ("approved", "the inbox lacks", "DELETE FROM inbox"),
    "a wish put in": (
        "done", "jobs.inbox_done", "INSERT INTO inbox VALUES (:done, 1, 'cancel', '', 'eve', 1, '{}', '')"),
    "a cancel put in and counted": (
        "asks", "no event came",
        "INSERT INTO inbox VALUES (:asks, 1, 'cancel', '', 'eve', 1, '{}', 'cancel');"
        "UPDATE jobs SET inbox_seq = 1, inbox_done = 1 WHERE no = :asks"),
    "a wish far away": (
        "asks", "number of wish 1", "INSERT INTO inbox VALUES (:asks, 9, 'key', '', '', 1, '{}', '')"),
    "a wish of no kind": (
        "asks", "no kind of wish", "INSERT INTO inbox VALUES (:asks, 1, 'x', '', '', 1, '{}', '')"),
    "a decision changed": (
        "approved", "the body", "UPDATE inbox SET body = replace(body, 'true', 'false')"
        " WHERE job_no = :approved"),
    "wishes in another order": (
        "signalled", "inbox",
        "UPDATE inbox SET n = n + 10 WHERE job_no = :signalled;"
        "UPDATE inbox SET n = 13 - n WHERE job_no = :signalled"),
    "a body of bytes in an inbox": (
        "approved", "the body", "UPDATE inbox SET body = CAST(body AS BLOB) WHERE job_no = :approved"),
    "keys deleted": ("paid", "the global key", "DELETE FROM global_keys"),
    "a key of a job that never ran": (
        "delayed", "never ran", "INSERT INTO global_keys VALUES ('charge', 'x', 'y', :delayed, '1')"),
    "a key of a copy": (
        "copied", "never sent", "UPDATE global_keys SET job_no = :copied WHERE job_no = :paid"),
    "the unread counted as read": (
        "owned", "no event came", "UPDATE jobs SET inbox_done = 2 WHERE no = :owned"),
    "labels deleted": ("done", "label team", "DELETE FROM job_labels"),
    "a label changed": ("done", "label team", "UPDATE job_labels SET value = 'b' WHERE name = 'team'"),
    "a label put in": ("asks", "label a", "INSERT INTO job_labels VALUES ('a', 'b', :asks)"),
    "a child deleted": (
        "parent", "the child of step 1 is missing",
        "DELETE FROM events WHERE job_no = (SELECT no FROM jobs WHERE parent <> '' AND agent = 'echo');"
        "DELETE FROM jobs WHERE parent <> '' AND agent = 'echo'"),
    "a repeated job deleted": (
        "retry", "repeats is missing",
        "DELETE FROM events WHERE job_no = :failed; DELETE FROM jobs WHERE no = :failed"),
    "events deleted": ("done", "no events", "DELETE FROM events WHERE job_no = :done"),
    "the last event deleted": (
        "done", "jobs.seq", "DELETE FROM events WHERE job_no = :done AND seq ="
        " (SELECT max(seq) FROM events WHERE job_no = :done)"),
    "an event deleted": (
        "done", "chain breaks at event 2", "DELETE FROM events WHERE job_no = :done AND seq = 2"),
    "an event changed": (
        "done", "chain breaks", "UPDATE events SET body = replace(body, 'HELLO', 'HOLLE')"
        " WHERE job_no = :done AND body LIKE '%HELLO%'"),
    "an event put in": (
        "done", "chain breaks", "INSERT INTO events (job_no, seq, body, hash)"
        " SELECT job_no, seq + 1, body, hash FROM events WHERE job_no = :done ORDER BY seq DESC LIMIT 1"),
    "an event that is no UTF-8": (
        "done", "chain breaks", "UPDATE events SET body = CAST(x'ff' AS TEXT) WHERE job_no = :done"),
    "an event of other bytes": (
        "done", "chain breaks", "UPDATE events SET body = x'ff' WHERE job_no = :done"),
    "an event of the same bytes": (
        "done", "is no text", "UPDATE events SET body = CAST(body AS BLOB) WHERE job_no = :done"),
    "a hash that is a number": (
        "done", "chain breaks", "UPDATE events SET hash = 5 WHERE job_no = :done AND seq = 1"),
    "payloads deleted": ("large", "payload", "DELETE FROM payloads"),
    "leases deleted": ("owned", "lease", "DELETE FROM workers"),
    "a lease ended": ("owned", "lease", "UPDATE workers SET status = 'dead'"),
}  # fmt: skip

OF_THE_FILE: dict[str, tuple[str, str]] = {
    "a job deleted": ("events: rows of job number", "DELETE FROM jobs WHERE no = 1"),
    "events of no job": (
        "events: rows of job number 999", "INSERT INTO events (job_no, seq, body, hash) VALUES (999, 1, '{}', x'00')"),
    "events of no number": (
        "events: rows of job number x", "INSERT INTO events (job_no, seq, body, hash) VALUES ('x', 1, '{}', x'00')"),
    "a wish of no job": (
        "inbox: rows of job number 0", "INSERT INTO inbox VALUES (0, 1, 'key', '', '', 1, '{}', '')"),
    "a label of no job": ("job_labels", "INSERT INTO job_labels VALUES ('a', 'b', 999)"),
    "a key of no job": ("global_keys", "INSERT INTO global_keys VALUES ('a', 'b', 'c', 999, '1')"),
    "a payload changed": ("a payload is not", "UPDATE payloads SET body = 'other'"),
    "a payload of bytes": ("a payload is no text", "UPDATE payloads SET body = CAST(body AS BLOB)"),
    "the generation": ("meta generation", "UPDATE meta SET value = '0' WHERE name = 'generation'"),
    "no id": ("meta store_id", "DELETE FROM meta WHERE name = 'store_id'"),
    "no maker": ("meta made_by", "DELETE FROM meta WHERE name = 'made_by'"),
    "a migration": ("meta migration.0001", "UPDATE meta SET value = 'x' WHERE name = 'migration.0001'"),
    "a setting": ("meta x is not ours", "INSERT INTO meta VALUES ('x', 'y')"),
    "an index": ("index jobs_ready is missing", "DROP INDEX jobs_ready"),
    "the index of the events": ("index events_job is missing", "DROP INDEX events_job"),
    "another index": (
        "index jobs_ready differs",
        "DROP INDEX jobs_ready; CREATE INDEX jobs_ready ON jobs (agent)"),
    "an index too many": ("index i is not ours", "CREATE INDEX i ON jobs (agent)"),
    "a trigger": (
        "trigger t is not ours",
        "CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT 1  END"),
    "a view": ("view v is not ours", "CREATE VIEW v AS SELECT 1"),
    "a table": ("table t is not ours", "CREATE TABLE t (x)"),
    "a column": ("table jobs differs", "ALTER TABLE jobs ADD COLUMN x"),
    "version 0": ("user_version", "PRAGMA user_version = 0"),
    "version -1": ("user_version", "PRAGMA user_version = -1"),
    **{
        f"no {table}": (f"table {table} is missing", f"DROP TABLE {table}")
        for table in ("meta", "jobs", "job_labels", "events", "payloads", "inbox", "questions",
            "global_keys", "workers")
    },
}  # fmt: skip
