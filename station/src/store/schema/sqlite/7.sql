-- Of a delta package: SHA-256 of the manifests of the package that it starts from and of the one that it makes.
ALTER TABLE packages ADD COLUMN base TEXT;
ALTER TABLE packages ADD COLUMN target TEXT;
CREATE INDEX packages_target ON packages (target) WHERE target IS NOT NULL;

-- The file that the terminal is told to download: the job's package, or a delta to it. NULL: it was told of none.
ALTER TABLE jobs ADD COLUMN offered INTEGER REFERENCES packages (id);
