-- Sessions of the page; the hash is the SHA-256 of the cookie, the token that of the bearer token. SQLite's 14.
CREATE TABLE sessions (
    hash BYTEA PRIMARY KEY,
    token BYTEA NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX sessions_token ON sessions (token, ends_at);
