-- Seconds for which an order is good, which bounds expires_at after the clock was set back. SQLite's 12.
ALTER TABLE orders ADD COLUMN expire BIGINT;
UPDATE orders SET expire = expires_at - created_at;
