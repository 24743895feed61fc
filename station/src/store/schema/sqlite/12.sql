-- The state first: SQLite does not see that a partial index holds what is asked for, and read all jobs in a state instead.
DROP INDEX jobs_queued;
DROP INDEX jobs_busy;
DROP INDEX jobs_expiring;
CREATE INDEX jobs_terminal_state ON jobs (terminal, state, id);
CREATE INDEX jobs_waiting ON jobs (state, not_before) WHERE not_before IS NOT NULL;
CREATE INDEX jobs_expiry ON jobs (state, expires_at) WHERE expires_at IS NOT NULL;

-- Seconds for which an order is good, which bounds expires_at after the clock was set back; and what orders from before step 10 said.
ALTER TABLE orders ADD COLUMN expire INTEGER;
UPDATE orders SET budget = (SELECT max(budget) FROM jobs WHERE order_id = orders.id) WHERE budget IS NULL;
UPDATE orders SET expires_at = (SELECT max(expires_at) FROM jobs WHERE order_id = orders.id) WHERE expires_at IS NULL;
UPDATE orders SET expire = expires_at - created_at;
