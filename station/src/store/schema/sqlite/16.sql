-- Rollouts. `plan` is JSON; `why` and `message` say why it stopped or ended.
CREATE TABLE rollouts (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    package     INTEGER NOT NULL REFERENCES packages (id),
    type        TEXT NOT NULL,
    budget      INTEGER,
    plan        TEXT NOT NULL,
    state       TEXT NOT NULL
        CHECK (state IN ('preparing', 'draft', 'approval', 'running', 'paused', 'stopped', 'ended')),
    why         TEXT,
    message     TEXT,
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    started_by  TEXT,
    started_at  INTEGER,
    approved_by TEXT,
    expires_at  INTEGER,
    -- Waves that are open, and whether an operator has asked for the next one.
    open        INTEGER NOT NULL DEFAULT 0,
    go          INTEGER NOT NULL DEFAULT 0,
    -- While it is prepared: the terminals with their places are known up to this one, and whether all are.
    after       TEXT NOT NULL DEFAULT '',
    collected   INTEGER NOT NULL DEFAULT 0,
    -- The order that has its jobs. NULL: the next ones get a new one.
    order_id    INTEGER,
    -- When it was stopped, and when the last linked terminal had that.
    stopped_at  INTEGER,
    reached_at  INTEGER
) STRICT;
CREATE INDEX rollouts_state ON rollouts (state, id);
CREATE INDEX rollouts_package ON rollouts (package);
ALTER TABLE orders ADD COLUMN rollout INTEGER;
CREATE INDEX orders_rollout ON orders (rollout) WHERE rollout IS NOT NULL;

-- Terminals that a rollout is still to look at, JSON lists.
CREATE TABLE rollout_pieces (
    rollout   INTEGER NOT NULL REFERENCES rollouts (id),
    piece     INTEGER NOT NULL,
    terminals TEXT NOT NULL,
    PRIMARY KEY (rollout, piece)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_waves (
    rollout   INTEGER NOT NULL REFERENCES rollouts (id),
    wave      INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    PRIMARY KEY (rollout, wave)
) STRICT, WITHOUT ROWID;

-- The terminals of rollouts. Wave 0: it belongs to none.
CREATE TABLE rollout_targets (
    rollout     INTEGER NOT NULL REFERENCES rollouts (id),
    terminal    TEXT NOT NULL,
    wave        INTEGER NOT NULL DEFAULT 0,
    state       TEXT NOT NULL CHECK (state IN
        ('waiting', 'unreachable', 'active', 'success', 'failed', 'cancelled', 'expired', 'left-out')),
    -- Why it is left out, or how its job ended.
    word        TEXT,
    job         INTEGER,
    -- When it is looked at again, and why it waits.
    due_at      INTEGER NOT NULL DEFAULT 0,
    waits_for   TEXT,
    version     TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    risk        TEXT,
    zone        TEXT,
    feeder      TEXT,
    feeder_rank INTEGER,
    ring        TEXT,
    ring_rank   INTEGER,
    ring_size   INTEGER NOT NULL DEFAULT 0,
    cell        TEXT,
    PRIMARY KEY (rollout, terminal)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollout_targets_due ON rollout_targets (rollout, wave, state, due_at);
CREATE INDEX rollout_targets_state ON rollout_targets (rollout, state, terminal);
CREATE INDEX rollout_targets_terminal ON rollout_targets (terminal, state);
CREATE INDEX rollout_targets_job ON rollout_targets (job) WHERE job IS NOT NULL;
CREATE INDEX rollout_targets_feeder ON rollout_targets (feeder, state, due_at) WHERE feeder IS NOT NULL;
CREATE INDEX rollout_targets_ring ON rollout_targets (ring, state, due_at) WHERE ring IS NOT NULL;
CREATE INDEX rollout_targets_cell ON rollout_targets (cell, state, due_at) WHERE cell IS NOT NULL;

-- How many terminals of a wave are in a state, or ended with a word; how many are at risk; bytes. `seen`: the number when an operator last
-- resumed the rollout. `at`: the last change.
CREATE TABLE rollout_counts (
    rollout INTEGER NOT NULL REFERENCES rollouts (id),
    wave    INTEGER NOT NULL,
    what    TEXT NOT NULL CHECK (what IN ('state', 'outcome', 'word', 'risk', 'bytes')),
    word    TEXT NOT NULL,
    number  INTEGER NOT NULL,
    seen    INTEGER NOT NULL DEFAULT 0,
    at      INTEGER NOT NULL,
    PRIMARY KEY (rollout, wave, what, word)
) STRICT, WITHOUT ROWID;
