-- The version of RecoveryOS as the terminal reported it, for orders to all terminals.
ALTER TABLE terminals ADD COLUMN recovery_version TEXT NOT NULL DEFAULT '';
UPDATE terminals SET recovery_version = coalesce(json_extract(link_up, '$.dau.recoveryVersion'), '')
    WHERE json_valid(link_up);
