-- The chain of the record: see store/chain.rs. Events from before this step have no hash; the chain starts after them. SQLite's 18.
ALTER TABLE events ADD COLUMN hash BYTEA;
-- Of the last event in it.
ALTER TABLE archives ADD COLUMN last_hash BYTEA;
