//! Passwords: their hashes (argon2id) and how often one may be tried. Called by log-in, git over HTTP and `harrier admin`.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use harrier_base::Secret;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Shortest password.
pub const SHORTEST: usize = 8;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too easy to try.
    #[error("the password is too short: it needs at least {SHORTEST} characters")]
    Short,
    /// Nobody types that.
    #[error("the password is too long: it takes at most 128 characters")]
    Long,
    /// The machine.
    #[error("the password could not be hashed")]
    Failed,
}

/// 19 MiB, two rounds, one lane: what OWASP advises for argon2id.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 << 10, 2, 1, None).unwrap_or_default())
}

/// The hash of a password nobody knows.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$aGFycmllci1uby11c2Vy$Z2bUDb7pHL3rOJEmAHK7nRHTuCXm0TbOyPiAGZ7KWdQ";

/// The hash of a new password. Takes some tens of milliseconds of work: off the async threads.
pub async fn hash(password: Secret) -> Result<String, PasswordError> {
    match password.expose().chars().count() {
        0..SHORTEST => return Err(PasswordError::Short),
        129.. => return Err(PasswordError::Long),
        _ => {}
    }
    let hashed = tokio::task::spawn_blocking(move || {
        argon2().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string()).ok()
    });
    hashed.await.ok().flatten().ok_or(PasswordError::Failed)
}

/// Whether a password is the one of a hash. Without a hash (no such user, no password yet) the same work is done and the
/// answer is no, so that the time does not tell who exists.
pub async fn verify(password: Secret, hash: Option<String>) -> bool {
    let known = hash.is_some();
    let checked = tokio::task::spawn_blocking(move || {
        let hash = hash.as_deref().unwrap_or(NOBODY);
        PasswordHash::new(hash)
            .is_ok_and(|hash| argon2().verify_password(password.expose().as_bytes(), &hash).is_ok())
    });
    checked.await.unwrap_or(false) && known
}

/// How often somebody may try passwords: after ten wrong ones within ten minutes the next has to wait.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: Mutex<HashMap<String, Vec<i64>>>,
}

impl Attempts {
    const MOST: usize = 10;
    const WINDOW: i64 = 600_000;
    /// Names remembered at a time; the oldest go first.
    const NAMES: usize = 10_000;

    /// Milliseconds to wait before the next try for any of `names` (a user name, an address); 0: now.
    pub fn wait(&self, names: &[String], now: i64) -> i64 {
        self.wait_beyond(Self::MOST, names, now)
    }

    /// Like [`Self::wait`], with another number of tries.
    pub(crate) fn wait_beyond(&self, most: usize, names: &[String], now: i64) -> i64 {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |name: &String| {
            let times = failed.get(name)?;
            let recent: Vec<i64> = times.iter().copied().filter(|at| now - at < Self::WINDOW).collect();
            recent.len().checked_sub(most).map(|first| recent[first] + Self::WINDOW - now)
        };
        names.iter().filter_map(wait).max().unwrap_or(0)
    }

    /// A wrong password was tried.
    pub fn failed(&self, names: &[String], now: i64) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let times = failed.entry(name.clone()).or_default();
            times.retain(|at| now - at < Self::WINDOW);
            times.push(now);
        }
        if failed.len() > Self::NAMES {
            failed.retain(|_, times| times.last().is_some_and(|at| now - at < Self::WINDOW));
        }
        if failed.len() > Self::NAMES {
            let mut last: Vec<i64> = failed.values().filter_map(|times| times.last().copied()).collect();
            last.sort_unstable();
            let middle = last[last.len() / 2];
            failed.retain(|_, times| times.last().is_some_and(|at| *at > middle));
        }
    }

    /// An administrator let the user in again: what was before `at` does not count.
    pub fn forgive(&self, name: &str, at: i64) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = failed.get_mut(name) {
            times.retain(|tried| *tried > at);
        }
    }

    /// The right password was given: the user may err again.
    pub fn passed(&self, name: &str) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_are_hashed_and_checked() {
        let hashed = hash(Secret::new("correct horse")).await.expect("a good password");
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(Secret::new("correct horse"), Some(hashed.clone())).await);
        assert!(!verify(Secret::new("wrong horse"), Some(hashed)).await);
        assert!(!verify(Secret::new("correct horse"), None).await);
        assert!(!verify(Secret::new("x"), Some("no hash".into())).await);
        assert!(
            PasswordHash::new(NOBODY).is_ok(),
            "else a user that does not exist would be told apart by time"
        );
        assert_eq!(hash(Secret::new("seven77")).await, Err(PasswordError::Short));
        assert_eq!(hash(Secret::new("x".repeat(129))).await, Err(PasswordError::Long));
    }

    #[test]
    fn ten_wrong_passwords_and_the_next_waits() {
        let attempts = Attempts::default();
        let names = ["root".to_owned(), "10.0.0.1".to_owned()];
        for at in 0..10 {
            assert_eq!(attempts.wait(&names, at), 0);
            attempts.failed(&names, at);
        }
        assert_eq!(attempts.wait(&names[..1], 10), Attempts::WINDOW - 10);
        assert_eq!(attempts.wait(&names, Attempts::WINDOW), 0);
        attempts.forgive("root", 8);
        assert_eq!(attempts.wait(&names[..1], 10), 0);
        for at in 0..9 {
            attempts.failed(&names[..1], at);
        }
        assert!(attempts.wait(&names[..1], 10) > 0);
        attempts.passed("root");
        assert_eq!(attempts.wait(&names[..1], 10), 0);
        assert!(attempts.wait(&names, 10) > 0, "the address still waits");
        for name in 0..3 * Attempts::NAMES as i64 {
            attempts.failed(&[name.to_string()], name);
        }
        assert!(attempts.failed.lock().expect("not poisoned").len() <= Attempts::NAMES + 1);
    }
}
