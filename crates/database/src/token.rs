//! Tokens: made here, shown once, kept as their SHA-256 only. Called by the operations that hand one out or look one up.

use crate::error::{DatabaseError, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harrier_base::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// What a token is for; each has GitLab's prefix (`runner-api.md` §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// `glpat-`: acts as its user.
    Personal,
    /// `glpat-` too: acts for a project.
    Project,
    /// `glptt-`: starts pipelines.
    Trigger,
    /// `glrt-`: a runner that was made on the server.
    Runner,
    /// A runner that registered itself, which must not begin with `glrt-`.
    LegacyRunner,
    /// `GR1348941`: registers runners.
    Registration,
    /// `glcbt-`: a job.
    Job,
    /// A log-in session, or a link that is good once.
    Session,
}

impl TokenKind {
    /// How its tokens begin.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Personal | Self::Project => "glpat-",
            Self::Trigger => "glptt-",
            Self::Runner => "glrt-",
            Self::LegacyRunner => "t1_",
            Self::Registration => "GR1348941",
            Self::Job => "glcbt-",
            Self::Session => "",
        }
    }

    /// A new one, with 160 bits nobody can guess.
    pub fn make(self) -> Result<Secret> {
        let mut bytes = [0_u8; 20];
        SystemRandom::new().fill(&mut bytes).map_err(|_| DatabaseError::Failed {
            message: "the system gives no random numbers".to_owned(),
        })?;
        Ok(Secret::new(format!("{}{}", self.prefix(), URL_SAFE_NO_PAD.encode(bytes))))
    }
}

/// What is kept of a token.
pub fn token_hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
