-- Rollouts, as in SQLite. `plan` is JSON; `why` and `message` say why it stopped or ended.
CREATE TABLE rollouts (
    id          BIGINT PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL,
    package     BIGINT NOT NULL REFERENCES packages (id),
    type        TEXT COLLATE "C" NOT NULL,
    budget      BIGINT,
    plan        TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL
        CHECK (state IN ('preparing', 'draft', 'approval', 'running', 'paused', 'stopped', 'ended')),
    why         TEXT COLLATE "C",
    message     TEXT COLLATE "C",
    created_by  TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    started_by  TEXT COLLATE "C",
    started_at  BIGINT,
    approved_by TEXT COLLATE "C",
    expires_at  BIGINT,
    -- Waves that are open, and whether an operator has asked for the next one.
    open        BIGINT NOT NULL DEFAULT 0,
    go          BOOLEAN NOT NULL DEFAULT FALSE,
    -- While it is prepared: the terminals with their places are known up to this one, and whether all are.
    after       TEXT COLLATE "C" NOT NULL DEFAULT '',
    collected   BOOLEAN NOT NULL DEFAULT FALSE,
    -- The order that has its jobs. NULL: the next ones get a new one.
    order_id    BIGINT,
    -- When it was stopped, and when the last linked terminal had that.
    stopped_at  BIGINT,
    reached_at  BIGINT
);
CREATE INDEX rollouts_state ON rollouts (state, id);
CREATE INDEX rollouts_package ON rollouts (package);
ALTER TABLE orders ADD COLUMN rollout BIGINT;
CREATE INDEX orders_rollout ON orders (rollout) WHERE rollout IS NOT NULL;

-- Terminals that a rollout is still to look at, JSON lists.
CREATE TABLE rollout_pieces (
    rollout   BIGINT NOT NULL REFERENCES rollouts (id),
    piece     BIGINT NOT NULL,
    terminals TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (rollout, piece)
);

CREATE TABLE rollout_waves (
    rollout   BIGINT NOT NULL REFERENCES rollouts (id),
    wave      BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    PRIMARY KEY (rollout, wave)
);

-- The terminals of rollouts. Wave 0: it belongs to none.
CREATE TABLE rollout_targets (
    rollout     BIGINT NOT NULL REFERENCES rollouts (id),
    terminal    TEXT COLLATE "C" NOT NULL,
    wave        BIGINT NOT NULL DEFAULT 0,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN
        ('waiting', 'unreachable', 'active', 'success', 'failed', 'cancelled', 'expired', 'left-out')),
    -- Why it is left out, or how its job ended.
    word        TEXT COLLATE "C",
    job         BIGINT,
    -- When it is looked at again, and why it waits.
    due_at      BIGINT NOT NULL DEFAULT 0,
    waits_for   TEXT COLLATE "C",
    version     TEXT COLLATE "C" NOT NULL,
    bytes       BIGINT NOT NULL,
    risk        TEXT COLLATE "C",
    zone        TEXT COLLATE "C",
    feeder      TEXT COLLATE "C",
    feeder_rank BIGINT,
    ring        TEXT COLLATE "C",
    ring_rank   BIGINT,
    ring_size   BIGINT NOT NULL DEFAULT 0,
    cell        TEXT COLLATE "C",
    PRIMARY KEY (rollout, terminal)
);
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
    rollout BIGINT NOT NULL REFERENCES rollouts (id),
    wave    BIGINT NOT NULL,
    what    TEXT COLLATE "C" NOT NULL CHECK (what IN ('state', 'outcome', 'word', 'risk', 'bytes')),
    word    TEXT COLLATE "C" NOT NULL,
    number  BIGINT NOT NULL,
    seen    BIGINT NOT NULL DEFAULT 0,
    at      BIGINT NOT NULL,
    PRIMARY KEY (rollout, wave, what, word)
);
