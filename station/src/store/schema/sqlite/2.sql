-- Packages and jobs of kind recovery. Only the CHECKs become wider, so no row can contradict them: SQLite's documentation (ALTER TABLE,
-- section 7) allows to change the text of the schema for that.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''rootfs'', ''full'')', '''rootfs'', ''full'', ''recovery'')')
    WHERE type = 'table' AND name IN ('packages', 'jobs');
PRAGMA writable_schema = RESET;
