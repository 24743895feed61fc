-- Terminals that an operator barred, and whether a message of theirs was recorded since.
ALTER TABLE terminals ADD COLUMN barred TEXT CHECK (barred IN ('blocked', 'decommissioned'));
ALTER TABLE terminals ADD COLUMN barred_told INTEGER NOT NULL DEFAULT FALSE;
