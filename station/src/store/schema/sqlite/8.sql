-- Deltas that operators asked for. `unsigned`: made, and waiting for its signature in the folder of that name.
CREATE TABLE deltas (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    base        INTEGER NOT NULL REFERENCES packages (id),
    target      INTEGER NOT NULL REFERENCES packages (id),
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'making', 'unsigned', 'signed', 'failed')),
    -- The step under way and its per cent, or why it failed.
    message     TEXT NOT NULL DEFAULT '',
    progress    INTEGER NOT NULL DEFAULT 0,
    size        INTEGER,
    -- The signed delta package.
    package     INTEGER REFERENCES packages (id),
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (base, target)
) STRICT;
