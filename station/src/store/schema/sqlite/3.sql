-- Written to see whether the database takes what is written.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

-- Answers to requests that had an Idempotency-Key, for when the same request comes again.
CREATE TABLE requests (
    by     TEXT NOT NULL,
    key    TEXT NOT NULL,
    digest BLOB NOT NULL,
    at     INTEGER NOT NULL,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (by, key)
) STRICT;
CREATE INDEX requests_at ON requests (at);

-- The job of another station, or of a lost database, that the terminal said it is busy with.
ALTER TABLE terminals ADD COLUMN busy_with INTEGER;
