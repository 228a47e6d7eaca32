-- Every statement of the store, by name. `:rows(n)` stands for many rows of n values each.

-- name: point
SAVEPOINT inner_point

-- name: undo
ROLLBACK TO inner_point

-- name: head_jobs
-- The fence of a commit: moves the heads of many jobs, and only of those that still are ours.
UPDATE jobs SET seq = v.column5, head = v.column6
FROM (VALUES :rows(7)) AS v
WHERE jobs.no = v.column1 AND jobs.worker = v.column2 AND jobs.epoch = v.column3
    AND jobs.seq = v.column4 AND (v.column7 IS NULL OR jobs.inbox_seq = v.column7)

-- name: patch_job
UPDATE jobs SET seq = :seq, head = :head, status = :status, parked = :parked, worker = :worker,
    run_at = :run_at, wake_at = :wake_at, epoch = :epoch, inbox_seq = :inbox_seq,
    inbox_done = :inbox_done, started_at = :started_at, finished_at = :finished_at,
    ended_seq = :ended_seq, version = :version
WHERE no = :no

-- name: append_events
INSERT INTO events (job_no, seq, body, hash) VALUES :rows(4)

-- name: keep_payloads
INSERT INTO payloads (digest, body) VALUES :rows(2) ON CONFLICT (digest) DO NOTHING

-- name: job_by_no
SELECT * FROM jobs WHERE no = :no

-- name: job_by_id
SELECT * FROM jobs WHERE id = :id

-- name: job_by_key
SELECT * FROM jobs WHERE key = :key AND key <> ''

-- name: jobs_by_prefix
SELECT * FROM jobs WHERE id >= :low AND id < :high ORDER BY id LIMIT 11

-- name: last_job
SELECT * FROM jobs ORDER BY no DESC LIMIT 1

-- name: give_away
-- What an owner's last change makes of the row. The fence has seen that the job is the owner's.
UPDATE jobs SET worker = '', status = v.column2, parked = v.column3,
    run_at = coalesce(v.column4, run_at), wake_at = v.column5, finished_at = v.column6,
    ended_seq = v.column7
FROM (VALUES :rows(7)) AS v WHERE jobs.no = v.column1

-- name: mark_read
UPDATE jobs SET inbox_done = v.column2 FROM (VALUES :rows(2)) AS v WHERE jobs.no = v.column1

-- name: own
UPDATE jobs SET status = 'running', parked = '', wake_at = 0, worker = v.column2,
    epoch = v.column3, started_at = v.column4, seq = v.column5, head = v.column6
FROM (VALUES :rows(6)) AS v WHERE jobs.no = v.column1

-- name: insert_jobs
INSERT INTO jobs (id, agent, version, status, parked, priority, queue, run_at, wake_at, worker,
    epoch, seq, head, inbox_seq, inbox_done, parent, root, key, retry_of, created_at, started_at,
    finished_at, ended_seq)
VALUES :rows(23)
ON CONFLICT (id) DO NOTHING
RETURNING no, id

-- name: insert_labels
INSERT INTO job_labels (name, value, job_no) VALUES :rows(3)

-- name: due_of_agents
-- For each agent: whether a job of it is ready, and when the next one wakes or may begin.
-- The indexes are named because the planner, which knows no numbers, prefers that of the status.
SELECT v.column1 AS agent,
    EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_ready
        WHERE agent = v.column1 AND status = 'queued' AND run_at = 0) AS ready,
    (SELECT min(wake_at) FROM jobs INDEXED BY jobs_wake
        WHERE agent = v.column1 AND status = 'parked' AND wake_at > 0) AS wakes_at,
    (SELECT min(run_at) FROM jobs INDEXED BY jobs_delayed
        WHERE agent = v.column1 AND status = 'queued' AND run_at > 0) AS begins_at
FROM (VALUES :rows(1)) AS v

-- name: claimable
SELECT * FROM (SELECT * FROM jobs INDEXED BY jobs_wake
    WHERE agent = :agent AND status = 'parked' AND wake_at > 0 AND wake_at <= :now
    ORDER BY wake_at LIMIT :limit)
UNION ALL SELECT * FROM (SELECT * FROM jobs INDEXED BY jobs_delayed
    WHERE agent = :agent AND status = 'queued' AND run_at > 0 AND run_at <= :now
    ORDER BY run_at LIMIT :limit)
UNION ALL SELECT * FROM (SELECT * FROM jobs INDEXED BY jobs_ready
    WHERE agent = :agent AND status = 'queued' AND run_at = 0
    ORDER BY priority DESC, no LIMIT :limit)

-- name: claimable_of_root
SELECT * FROM jobs WHERE id = :root AND agent IN (SELECT value FROM json_each(:agents))
    AND (status = 'queued' AND run_at <= :now
    OR status = 'parked' AND wake_at > 0 AND wake_at <= :now)
UNION ALL SELECT * FROM jobs WHERE root = :root AND root <> id
    AND agent IN (SELECT value FROM json_each(:agents))
    AND (status = 'queued' AND run_at <= :now
    OR status = 'parked' AND wake_at > 0 AND wake_at <= :now)
LIMIT :limit

-- name: jobs_of_worker
SELECT * FROM jobs WHERE worker = :worker AND worker <> ''

-- name: unread_of_worker
SELECT no FROM jobs WHERE worker = :worker AND worker <> '' AND inbox_seq > inbox_done

-- name: open_jobs
SELECT * FROM jobs WHERE status IN ('queued', 'running', 'parked')

-- name: children_of
SELECT * FROM jobs WHERE parent >= :low AND parent < :high AND parent <> ''

-- name: events_of
SELECT seq, body, hash FROM events WHERE job_no = :no AND seq > :after ORDER BY seq LIMIT :limit

-- name: events_of_many
SELECT job_no, seq, body FROM events WHERE job_no IN (VALUES :rows(1)) ORDER BY job_no, seq

-- name: event_at
SELECT seq, body, hash FROM events WHERE job_no = :no AND seq = :seq

-- name: payload
SELECT body FROM payloads WHERE digest = :digest

-- name: put_inbox
INSERT INTO inbox (job_no, n, kind, step, actor, at, body, dedupe)
VALUES (:job_no, :n, :kind, :step, :actor, :at, :body, :dedupe)

-- name: inbox_dedupe
SELECT n, kind, step, actor, at, body FROM inbox WHERE job_no = :job_no AND dedupe = :dedupe
    AND dedupe <> ''

-- name: bump_inbox
UPDATE jobs SET inbox_seq = :n, inbox_done = max(inbox_done, :done) WHERE no = :no

-- name: inbox_after
SELECT n, kind, step, actor, at, body FROM inbox WHERE job_no = :no AND n > :after ORDER BY n

-- name: latest_hold
SELECT kind FROM inbox WHERE job_no = :no AND kind IN ('pause', 'resume') ORDER BY n DESC LIMIT 1

-- name: ask
INSERT INTO questions (job_no, step, kind, since, title, name, digest, schema, role, until, details)
VALUES (:job_no, :step, :kind, :since, :title, :name, :digest, :schema, :role, :until, :details)
ON CONFLICT (job_no, step) DO UPDATE SET kind = excluded.kind, since = excluded.since,
    title = excluded.title, name = excluded.name, digest = excluded.digest,
    schema = excluded.schema, role = excluded.role, until = excluded.until,
    details = excluded.details

-- name: answered
DELETE FROM questions WHERE job_no = :job_no AND step = :step

-- name: drop_waits
-- A job that ended waits for nothing; what stays open is what is asked about a call.
DELETE FROM questions WHERE job_no IN (VALUES :rows(1)) AND kind NOT IN ('in_doubt', 'contradicted')

-- name: questions_of
SELECT step, kind, since, title, name, digest, schema, role, until, details
FROM questions WHERE job_no = :no ORDER BY since, step

-- name: question
SELECT step, kind, since, title, name, digest, schema, role, until, details
FROM questions WHERE job_no = :no AND step = :step

-- name: questions_open
SELECT job_no, step, kind, since, title, name, digest, schema, role, until, details
FROM questions
WHERE kind NOT IN ('signal', 'timer', 'child', 'global_key') AND (:kind = '' OR kind = :kind)
ORDER BY since

-- name: key_holder
SELECT digest, job_no, step FROM global_keys WHERE tool = :tool AND key = :key

-- name: hold_key
INSERT INTO global_keys (tool, key, digest, job_no, step)
VALUES (:tool, :key, :digest, :job_no, :step)
ON CONFLICT (tool, key) DO UPDATE SET digest = excluded.digest, job_no = excluded.job_no,
    step = excluded.step

-- name: waiting_for_jobs
SELECT jobs.id, q.step FROM global_keys AS k
CROSS JOIN questions AS q ON q.name = k.tool || ':' || k.key AND q.kind = 'global_key'
JOIN jobs ON jobs.no = q.job_no
WHERE k.job_no IN (VALUES :rows(1))

-- name: waiting_for_call
SELECT jobs.id, q.step FROM global_keys AS k
CROSS JOIN questions AS q ON q.name = k.tool || ':' || k.key AND q.kind = 'global_key'
JOIN jobs ON jobs.no = q.job_no
WHERE k.job_no = :no AND k.step = :step

-- name: add_worker
INSERT INTO workers (id, host, boot, pid, lock_dir, space, started_at, beat_at, expires_at,
    status, concurrency, agents)
VALUES (:id, :host, :boot, :pid, :lock_dir, :space, :started_at, :beat_at, :expires_at,
    :status, :concurrency, :agents)

-- name: beat
UPDATE workers SET beat_at = :now, expires_at = :expires_at WHERE id = :id AND status = 'alive'
RETURNING id

-- name: end_worker
-- A lost worker may later be proven dead, or say itself that it has stopped. One whose lease is
-- said to be over has not renewed it since it was looked at (beat: when it was seen to last).
UPDATE workers SET status = :status
WHERE id = :id AND (status = 'alive' OR status = 'lost' AND :status <> 'lost')
    AND (:beat = 0 OR beat_at = :beat)
RETURNING id

-- name: worker
SELECT * FROM workers WHERE id = :id

-- name: workers_alive
SELECT * FROM workers WHERE status = 'alive' ORDER BY started_at

-- name: workers_all
SELECT * FROM workers ORDER BY started_at DESC LIMIT :limit

-- name: meta
SELECT value FROM meta WHERE name = :name

-- name: set_meta
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: count_by_status
SELECT status, count(*) AS n FROM jobs GROUP BY status

-- name: list_all
SELECT * FROM jobs WHERE no < :before AND created_at >= :since ORDER BY no DESC LIMIT :limit

-- name: list_by_status
SELECT * FROM jobs WHERE status = :status AND no < :before AND created_at >= :since
ORDER BY no DESC LIMIT :limit

-- name: list_by_agent
SELECT * FROM jobs WHERE agent = :agent AND no < :before AND created_at >= :since
ORDER BY no DESC LIMIT :limit

-- name: list_by_label
SELECT jobs.* FROM job_labels CROSS JOIN jobs ON jobs.no = job_labels.job_no
WHERE job_labels.name = :name AND job_labels.value = :value AND job_no < :before
    AND created_at >= :since
ORDER BY job_no DESC LIMIT :limit

-- name: data_version
PRAGMA data_version
