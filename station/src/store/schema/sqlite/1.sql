-- Version 1. Times are seconds since 1970-01-01 UTC.

CREATE TABLE terminals (
    id             TEXT PRIMARY KEY,
    product        TEXT NOT NULL DEFAULT '',
    version        TEXT NOT NULL DEFAULT '',
    kernel         TEXT NOT NULL DEFAULT '',
    kernel_slot    TEXT NOT NULL DEFAULT '',
    rollback_index INTEGER NOT NULL DEFAULT 0,
    free_bytes     INTEGER NOT NULL DEFAULT 0,
    -- What was heard last of the link: 'unknown' before the first EVENT_LINKUP.
    link           TEXT NOT NULL DEFAULT 'unknown' CHECK (link IN ('unknown', 'up', 'down')),
    registered_at  INTEGER NOT NULL,
    last_seen      INTEGER,
    -- The last EVENT_LINKUP's param, as received.
    link_up        TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE packages (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    name               TEXT NOT NULL,
    product            TEXT NOT NULL,
    version            TEXT NOT NULL,
    kind               TEXT NOT NULL CHECK (kind IN ('kernel', 'rootfs', 'full')),
    created            TEXT NOT NULL,
    rollback_index     INTEGER NOT NULL,
    manifest_sha256    TEXT NOT NULL,
    file_sha256        TEXT NOT NULL UNIQUE,
    file_md5           TEXT NOT NULL,
    size               INTEGER NOT NULL,
    signer             TEXT NOT NULL,
    signer_fingerprint TEXT NOT NULL,
    uploaded_by        TEXT NOT NULL,
    uploaded_at        INTEGER NOT NULL,
    -- The file is gone; the row stays for the record of jobs.
    removed_at         INTEGER
) STRICT;

CREATE TABLE jobs (
    id                  INTEGER PRIMARY KEY,
    -- What one request ordered for many terminals.
    order_id            INTEGER NOT NULL,
    terminal            TEXT NOT NULL REFERENCES terminals (id),
    package             INTEGER NOT NULL REFERENCES packages (id),
    type                TEXT NOT NULL CHECK (type IN ('kernel', 'rootfs', 'full')),
    state               TEXT NOT NULL,
    created_by          TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    policy              INTEGER NOT NULL,
    expires_at          INTEGER,
    -- The terminal was busy: when to try again.
    not_before          INTEGER,
    progress            INTEGER NOT NULL DEFAULT 0,
    bytes               INTEGER,
    total               INTEGER,
    ordered_at          INTEGER,
    accepted_at         INTEGER,
    heard_at            INTEGER,
    -- When to ask a silent terminal, and how often that was done since it was heard.
    query_at            INTEGER,
    queries             INTEGER NOT NULL DEFAULT 0,
    query_mid           INTEGER,
    -- The order was refused: how the job ends, and when, unless its result comes before.
    refusal             TEXT,
    ends_at             INTEGER,
    cancel_requested_by TEXT,
    cancel_requested_at INTEGER,
    finished_at         INTEGER,
    outcome             TEXT,
    code                INTEGER,
    word                TEXT,
    message             TEXT,
    -- The terminal's own additions to its result, as received.
    details             TEXT,
    -- Whether the result is the terminal's own REP_JOB_RESULT.
    reported            INTEGER NOT NULL DEFAULT 0,
    bytes_served        INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'finished') = (outcome IS NOT NULL)),
    CHECK ((state = 'finished') = (finished_at IS NOT NULL))
) STRICT;

-- One job at a time on a terminal, and one waiting or running job for the same package.
CREATE UNIQUE INDEX jobs_active ON jobs (terminal) WHERE state NOT IN ('queued', 'finished');
CREATE UNIQUE INDEX jobs_same ON jobs (terminal, package, type) WHERE state != 'finished';
CREATE INDEX jobs_queued ON jobs (terminal, id) WHERE state = 'queued';
CREATE INDEX jobs_busy ON jobs (not_before) WHERE state = 'queued' AND not_before IS NOT NULL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state IN ('queued', 'ordered') AND expires_at IS NOT NULL;
CREATE INDEX jobs_silent ON jobs (query_at) WHERE query_at IS NOT NULL;
CREATE INDEX jobs_ending ON jobs (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX jobs_query ON jobs (query_mid) WHERE query_mid IS NOT NULL;
CREATE INDEX jobs_terminal ON jobs (terminal, id);
CREATE INDEX jobs_order ON jobs (order_id, id);
CREATE INDEX jobs_state ON jobs (state, id);
CREATE INDEX jobs_package ON jobs (package, id);

-- The record of what happened, for evidence: written once, never changed.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    job      INTEGER,
    terminal TEXT,
    package  INTEGER,
    kind     TEXT NOT NULL,
    detail   TEXT NOT NULL
) STRICT;
CREATE INDEX events_job ON events (job, id) WHERE job IS NOT NULL;
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;

-- Commands to terminals: sent at send_at, and again until answered (send_at NULL). Gone with their job.
CREATE TABLE outbox (
    mid      INTEGER PRIMARY KEY,
    job      INTEGER NOT NULL REFERENCES jobs (id),
    terminal TEXT NOT NULL,
    command  TEXT NOT NULL CHECK (command IN ('order', 'cancel')),
    sent     INTEGER NOT NULL DEFAULT 0,
    send_at  INTEGER
) STRICT;
CREATE UNIQUE INDEX outbox_job ON outbox (job, command);
CREATE INDEX outbox_due ON outbox (send_at) WHERE send_at IS NOT NULL;
CREATE INDEX outbox_terminal ON outbox (terminal);

-- Download tokens by their SHA-256.
CREATE TABLE tokens (
    hash       BLOB PRIMARY KEY,
    terminal   TEXT NOT NULL,
    package    INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_job ON tokens (job);
CREATE INDEX tokens_expiry ON tokens (expires_at);
