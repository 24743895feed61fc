-- Orders. Their jobs are made in pieces, so that an order of any size is taken at once.
CREATE TABLE orders (
    id           INTEGER PRIMARY KEY,
    package      INTEGER NOT NULL REFERENCES packages (id),
    type         TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    policy       INTEGER NOT NULL,
    spread       INTEGER NOT NULL,
    budget       INTEGER,
    expires_at   INTEGER,
    -- Whether it is for all terminals of the product, and for those that it does not fit.
    for_all      INTEGER NOT NULL,
    force        INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('making', 'made', 'cancelling', 'cancelled')),
    -- Terminals that it is for, and those of them for which a job was made or that were skipped.
    terminals    INTEGER NOT NULL,
    done         INTEGER NOT NULL,
    -- The last of these in an order for all.
    after        TEXT NOT NULL DEFAULT '',
    cancelled_by TEXT,
    abandon      INTEGER NOT NULL DEFAULT 0,
    -- The last job that was cancelled.
    after_job    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX orders_open ON orders (state, id) WHERE state IN ('making', 'cancelling');
CREATE INDEX orders_package ON orders (package) WHERE state = 'making';

-- Terminals that an order names and that are still to be dealt with, JSON lists.
CREATE TABLE order_pieces (
    order_id  INTEGER NOT NULL REFERENCES orders (id),
    piece     INTEGER NOT NULL,
    terminals TEXT NOT NULL,
    PRIMARY KEY (order_id, piece)
) STRICT, WITHOUT ROWID;

-- Terminals that got no job, and why; `job` is the one that they have already.
CREATE TABLE order_skipped (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    terminal TEXT NOT NULL,
    reason   TEXT NOT NULL,
    job      INTEGER,
    PRIMARY KEY (order_id, terminal)
) STRICT, WITHOUT ROWID;

-- How many of an order's jobs are in a state, or have an outcome, and how many terminals were skipped for a reason.
CREATE TABLE order_counts (
    order_id INTEGER NOT NULL REFERENCES orders (id),
    what     TEXT NOT NULL CHECK (what IN ('job', 'skipped')),
    word     TEXT NOT NULL,
    number   INTEGER NOT NULL,
    PRIMARY KEY (order_id, what, word)
) STRICT, WITHOUT ROWID;

INSERT INTO orders (id, package, type, created_by, created_at, policy, spread, for_all, force, state, terminals, done)
    SELECT order_id, package, type, created_by, min(created_at), min(policy), 0, 0, 0, 'made', count(*), count(*)
    FROM jobs GROUP BY order_id;
INSERT INTO order_counts (order_id, what, word, number)
    SELECT order_id, 'job', coalesce(outcome, state), count(*) FROM jobs GROUP BY order_id, coalesce(outcome, state);
