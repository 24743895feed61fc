-- A station can call off what keeps a terminal busy although it never ordered it: such a command has no row in jobs. And when a
-- command was put is a time of its own, not read from its id: ids go on from a clock that was once ahead.
CREATE TABLE outbox_new (
    mid      INTEGER PRIMARY KEY,
    -- A job of this station, or one that only the terminal knows.
    job      INTEGER NOT NULL,
    terminal TEXT NOT NULL,
    command  TEXT NOT NULL CHECK (command IN ('order', 'cancel')),
    put_at   INTEGER NOT NULL,
    sent     INTEGER NOT NULL DEFAULT 0,
    send_at  INTEGER
) STRICT;
INSERT INTO outbox_new SELECT mid, job, terminal, command, mid / 1000000, sent, send_at FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE UNIQUE INDEX outbox_job ON outbox (job, terminal, command);
CREATE INDEX outbox_due ON outbox (send_at) WHERE send_at IS NOT NULL;
CREATE INDEX outbox_terminal ON outbox (terminal);

-- How long an order is good, which bounds expires_at after the clock was set back.
ALTER TABLE jobs ADD COLUMN expire INTEGER;
UPDATE jobs SET expire = expires_at - created_at;
-- Bytes of its record that others than operators cause.
ALTER TABLE jobs ADD COLUMN record_bytes INTEGER NOT NULL DEFAULT 0;

-- When to ask a terminal what it is, and how often that was done since it said so.
ALTER TABLE terminals ADD COLUMN ask_at INTEGER;
ALTER TABLE terminals ADD COLUMN asks INTEGER NOT NULL DEFAULT 0;
CREATE INDEX terminals_ask ON terminals (ask_at) WHERE ask_at IS NOT NULL;

-- Results of jobs that this station does not know: each is recorded once.
CREATE TABLE unknown_results (
    terminal TEXT NOT NULL,
    job      INTEGER NOT NULL,
    PRIMARY KEY (terminal, job)
) STRICT, WITHOUT ROWID;

-- Parts of the record that went into files.
CREATE TABLE archives (
    number      INTEGER PRIMARY KEY,
    first_event INTEGER NOT NULL,
    last_event  INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    sealed_at   INTEGER NOT NULL
) STRICT;
CREATE TRIGGER archives_stay BEFORE UPDATE ON archives
    BEGIN SELECT RAISE(ABORT, 'archives are never changed'); END;
CREATE TRIGGER archives_last BEFORE DELETE ON archives
    BEGIN SELECT RAISE(ABORT, 'archives are never removed'); END;
DROP TRIGGER events_last;
CREATE TRIGGER events_last BEFORE DELETE ON events
    WHEN OLD.id > (SELECT coalesce(max(last_event), 0) FROM archives)
    BEGIN SELECT RAISE(ABORT, 'events are never removed but into an archive'); END;
