//! Download tokens: short-lived, each for one terminal, package and job. Only their digests are
//! stored.

use openssl::sha::sha256;

use super::sql::{params, ToValue};
use super::{Cause, Error, Read, Result, Write};
use crate::api_tokens;

/// The rights of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The terminal it was issued to.
    pub terminal: String,
    pub package: i64,
    pub job: i64,
}

/// A token as it is stored.
#[derive(Debug)]
pub struct NewToken {
    digest: [u8; 32],
    grant: Grant,
    expires_at: i64,
}

/// Makes a token for `grant`, valid until `expires_at` once it is issued.
pub fn generate(grant: Grant, expires_at: i64) -> Result<(String, NewToken)> {
    let token =
        api_tokens::generate().map_err(|error| Error::new(Cause::Other, error.to_string()))?;
    let new = NewToken {
        digest: sha256(token.as_bytes()),
        grant,
        expires_at,
    };
    Ok((token, new))
}

/// Issues tokens.
pub fn issue(w: &Write<'_>, tokens: &[NewToken]) -> Result<()> {
    w.rows(
        tokens,
        "(?, ?, ?, ?, ?)",
        |rows| {
            format!("INSERT INTO tokens (hash, terminal, package, job, expires_at) VALUES {rows}")
        },
        |new| {
            [
                new.digest.to_value(),
                new.grant.terminal.to_value(),
                new.grant.package.to_value(),
                new.grant.job.to_value(),
                new.expires_at.to_value(),
            ]
        },
    )
}

/// Returns the rights of `token` at `now`.
pub fn look_up(r: &Read<'_>, token: &str, now: i64) -> Result<Option<Grant>> {
    r.optional(
        "SELECT terminal, package, job FROM tokens WHERE hash = ? AND expires_at > ?",
        params![sha256(token.as_bytes()), now],
        |row| {
            Ok(Grant {
                terminal: row.get(0)?,
                package: row.get(1)?,
                job: row.get(2)?,
            })
        },
    )
}

/// Revokes the tokens of a job.
pub fn revoke(w: &Write<'_>, job: i64) -> Result<()> {
    w.run("DELETE FROM tokens WHERE job = ?", params![job])
}

/// Removes expired tokens.
pub fn purge(w: &Write<'_>, now: i64) -> Result<usize> {
    w.execute("DELETE FROM tokens WHERE expires_at <= ?", params![now])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_opens_what_it_was_issued_for_until_it_expires_or_is_revoked() {
        let (_dir, store) = crate::store::tests::store();
        let grant = |terminal: &str, job| Grant {
            terminal: terminal.to_owned(),
            package: 7,
            job,
        };
        store
            .write(move |w| {
                let (a, first) = generate(grant("a", 1), 100)?;
                let (b, second) = generate(grant("b", 2), 100)?;
                issue(w, &[first, second])?;
                assert_ne!(a, b);
                assert_eq!(look_up(w, &a, 99)?, Some(grant("a", 1)));
                assert_eq!(look_up(w, &b, 99)?, Some(grant("b", 2)));
                assert_eq!(look_up(w, &a, 100)?, None);
                assert_eq!(look_up(w, &a[1..], 99)?, None);
                assert_eq!(look_up(w, "", 99)?, None);
                revoke(w, 1)?;
                assert_eq!(look_up(w, &a, 99)?, None);
                assert_eq!(look_up(w, &b, 99)?, Some(grant("b", 2)));
                assert_eq!(purge(w, 100)?, 1);
                Ok::<_, Error>(())
            })
            .await
            .unwrap();
    }
}
