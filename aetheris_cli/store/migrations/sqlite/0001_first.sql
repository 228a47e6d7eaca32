-- The first layout. `jobs`, `questions` and the rest are projections; `events`, `payloads` and
-- `inbox` are the truth.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE jobs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('queued', 'running', 'parked', 'succeeded', 'failed', 'cancelled')),
    parked TEXT NOT NULL,
    priority INTEGER NOT NULL,
    queue TEXT NOT NULL,
    run_at INTEGER NOT NULL,
    wake_at INTEGER NOT NULL,
    worker TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    inbox_seq INTEGER NOT NULL,
    inbox_done INTEGER NOT NULL,
    parent TEXT NOT NULL,
    root TEXT NOT NULL,
    key TEXT NOT NULL,
    retry_of TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    ended_seq INTEGER NOT NULL,
    CHECK ((status = 'running') = (worker <> '')),
    CHECK ((status = 'parked') = (parked <> '')),
    CHECK ((status IN ('succeeded', 'failed', 'cancelled')) = (ended_seq > 0))
);
-- One index for each question that is asked often; each holds only the rows it is about.
CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key <> '';
CREATE INDEX jobs_ready ON jobs (agent, priority DESC, no) WHERE status = 'queued' AND run_at = 0;
CREATE INDEX jobs_delayed ON jobs (agent, run_at) WHERE status = 'queued' AND run_at > 0;
CREATE INDEX jobs_root ON jobs (root) WHERE root <> id;
CREATE INDEX jobs_wake ON jobs (agent, wake_at) WHERE status = 'parked' AND wake_at > 0;
CREATE INDEX jobs_worker ON jobs (worker) WHERE worker <> '';
CREATE INDEX jobs_unread ON jobs (worker) WHERE worker <> '' AND inbox_seq > inbox_done;
CREATE INDEX jobs_status ON jobs (status, no);
CREATE INDEX jobs_parent ON jobs (parent) WHERE parent <> '';
CREATE INDEX jobs_agent ON jobs (agent, no);

CREATE TABLE job_labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    job_no INTEGER NOT NULL REFERENCES jobs (no),
    PRIMARY KEY (name, value, job_no)
) WITHOUT ROWID;
CREATE INDEX job_labels_job ON job_labels (job_no);

-- Appended in the order of time, not by job: a commit of many jobs then touches few pages.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    job_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE UNIQUE INDEX events_job ON events (job_no, seq);

CREATE TABLE payloads (
    digest TEXT PRIMARY KEY,
    body TEXT NOT NULL
);

CREATE TABLE inbox (
    job_no INTEGER NOT NULL REFERENCES jobs (no),
    n INTEGER NOT NULL,
    kind TEXT NOT NULL,
    step TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    dedupe TEXT NOT NULL,
    PRIMARY KEY (job_no, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX inbox_dedupe ON inbox (job_no, dedupe) WHERE dedupe <> '';

CREATE TABLE questions (
    job_no INTEGER NOT NULL REFERENCES jobs (no),
    step TEXT NOT NULL,
    kind TEXT NOT NULL,
    since INTEGER NOT NULL,
    title TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    schema TEXT NOT NULL,
    role TEXT NOT NULL,
    until INTEGER NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (job_no, step)
) WITHOUT ROWID;
CREATE INDEX questions_open ON questions (since)
    WHERE kind NOT IN ('signal', 'timer', 'child', 'global_key');
CREATE INDEX questions_key ON questions (name) WHERE kind = 'global_key';

-- Which call holds a global key; how that call stands, its job's history says.
CREATE TABLE global_keys (
    tool TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    job_no INTEGER NOT NULL REFERENCES jobs (no),
    step TEXT NOT NULL,
    PRIMARY KEY (tool, key)
) WITHOUT ROWID;
CREATE INDEX global_keys_call ON global_keys (job_no, step);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    pid INTEGER NOT NULL,
    lock_dir TEXT NOT NULL,
    space TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('alive', 'stopped', 'dead', 'lost')),
    concurrency INTEGER NOT NULL,
    agents TEXT NOT NULL
);
CREATE INDEX workers_alive ON workers (status) WHERE status = 'alive';
