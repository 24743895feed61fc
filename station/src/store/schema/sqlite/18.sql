-- The chain of the record: see store/chain.rs. Events from before this step have no hash; the chain starts after them.
ALTER TABLE events ADD COLUMN hash BLOB;
-- Of the last event in it.
ALTER TABLE archives ADD COLUMN last_hash BLOB;
