-- What filters compare: versions by keys that have their order (crates/package's version.rs; '' where there is no
-- version), and what operators note of terminals.
ALTER TABLE terminals ADD COLUMN version_key TEXT NOT NULL DEFAULT '';
ALTER TABLE terminals ADD COLUMN kernel_key TEXT NOT NULL DEFAULT '';
ALTER TABLE terminals ADD COLUMN recovery_key TEXT NOT NULL DEFAULT '';

CREATE TABLE terminal_attributes (
    terminal TEXT NOT NULL REFERENCES terminals (id),
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    sort_key TEXT NOT NULL,
    PRIMARY KEY (terminal, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX terminal_attributes_value ON terminal_attributes (name, value, terminal);

CREATE TABLE terminal_tags (
    terminal TEXT NOT NULL REFERENCES terminals (id),
    tag      TEXT NOT NULL,
    PRIMARY KEY (terminal, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX terminal_tags_tag ON terminal_tags (tag, terminal);

-- The filter of an order that is for the terminals that it found.
ALTER TABLE orders ADD COLUMN filter TEXT;
