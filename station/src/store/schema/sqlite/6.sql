-- What a job may spend, and has spent as its terminal says, bytes.
ALTER TABLE jobs ADD COLUMN budget INTEGER;
ALTER TABLE jobs ADD COLUMN bytes_used INTEGER;

-- SHA-256 of the manifests of the packages that the terminal keeps, a JSON list.
ALTER TABLE terminals ADD COLUMN packages TEXT NOT NULL DEFAULT '[]';
