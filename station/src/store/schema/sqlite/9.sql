-- Whether a package, or a delta to it, was offered, and how that ended.
CREATE INDEX jobs_offered ON jobs (offered, terminal) WHERE offered IS NOT NULL;
