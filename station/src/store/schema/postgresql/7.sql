-- Terminals that an operator barred. SQLite's 17.
ALTER TABLE terminals
    ADD COLUMN barred TEXT CHECK (barred IN ('blocked', 'decommissioned')),
    ADD COLUMN barred_told BOOLEAN NOT NULL DEFAULT FALSE;
