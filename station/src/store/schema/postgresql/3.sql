-- What filters compare. SQLite's 13.
ALTER TABLE terminals
    ADD COLUMN version_key TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN kernel_key TEXT COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN recovery_key TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE TABLE terminal_attributes (
    terminal TEXT COLLATE "C" NOT NULL REFERENCES terminals (id),
    name     TEXT COLLATE "C" NOT NULL,
    value    TEXT COLLATE "C" NOT NULL,
    sort_key TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (terminal, name)
);
CREATE INDEX terminal_attributes_value ON terminal_attributes (name, value, terminal);

CREATE TABLE terminal_tags (
    terminal TEXT COLLATE "C" NOT NULL REFERENCES terminals (id),
    tag      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (terminal, tag)
);
CREATE INDEX terminal_tags_tag ON terminal_tags (tag, terminal);

ALTER TABLE orders ADD COLUMN filter TEXT;
