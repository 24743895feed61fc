-- Several stations: who is there, and up to when each has heard terminals; and the last jump of the clock, which all of them notice.
CREATE TABLE stations (
    name     TEXT PRIMARY KEY,
    seen_at  BIGINT NOT NULL,
    heard_at BIGINT NOT NULL
);
CREATE TABLE jumps (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    at      BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    station TEXT NOT NULL
);

-- The station that makes a delta, and when it last said so.
ALTER TABLE deltas ADD COLUMN maker TEXT;
ALTER TABLE deltas ADD COLUMN noted_at BIGINT;
