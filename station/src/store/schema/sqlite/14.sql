-- Sessions of the page; the hash is the SHA-256 of the cookie, the token that of the bearer token.
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    token BLOB NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_token ON sessions (token, ends_at);
