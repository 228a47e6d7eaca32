"""The rows beside the histories: projections of them, written in the same transaction."""

from typing import Final

import msgspec

from aetheris_cli.domain.states import JobState


class JobRow(msgspec.Struct):
    """One job as the table keeps it. Times are milliseconds since 1970; 0 and "" mean none."""

    no: int
    """The store's own small number of the job."""
    id: str
    agent: str
    version: str
    status: JobState
    parked: str
    """The reason, while the job is parked."""
    priority: int
    queue: str
    run_at: int
    """Not to be claimed before this time, while queued."""
    wake_at: int
    """When a parked job goes on by itself; 0: never."""
    worker: str
    epoch: int
    seq: int
    head: bytes
    inbox_seq: int
    inbox_done: int
    parent: str
    root: str
    key: str
    retry_of: str
    created_at: int
    started_at: int
    finished_at: int
    ended_seq: int


JOB_COLUMNS: Final = JobRow.__struct_fields__


class InboxRow(msgspec.Struct):
    """Something that others want to happen to a job: one durable wish."""

    n: int
    kind: str
    """cancel, pause, resume, decide, signal, settle, child, key or evidence."""
    step: str
    actor: str
    at: int
    body: str
    """JSON; what it holds depends on the kind."""


class Question(msgspec.Struct):
    """Something that a job waits for. The rows of `parked`, and the index of all waits."""

    step: str
    kind: str
    """approval, in_doubt, signal, timer, child, or why the whole job is parked (step "")."""
    since: int
    title: str = ""
    name: str = ""
    """The tool in doubt, the awaited signal, the child's id."""
    digest: str = ""
    schema: str = ""
    role: str = ""
    until: int = 0
    details: str = ""
    """JSON: the arguments, or what the person is shown."""


class WorkerRow(msgspec.Struct):
    """One worker process and its lease."""

    id: str
    host: str
    boot: str
    pid: int
    lock_dir: str
    """The random id of the directory that holds its lock file."""
    space: str
    """Where its processes can be looked for: the namespace of their numbers, and their group."""
    started_at: int
    beat_at: int
    expires_at: int
    """The end of its lease on the host's own clock since boot, milliseconds."""
    status: str
    """A WorkerState."""
    concurrency: int
    agents: str
