//! Seals values with the key that lies beside the database and never in it (ChaCha20-Poly1305). Called by the operations that
//! keep variables; each value has a nonce of its own.

use crate::error::{DatabaseError, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

const NONCE: usize = 12;

/// The key.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<LessSafeKey>,
}

impl Sealer {
    /// From 32 bytes.
    pub fn new(key: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| DatabaseError::Sealed)?;
        Ok(Self { key: Arc::new(LessSafeKey::new(key)) })
    }

    /// From a file of mode 0600, made when it is not there.
    pub fn from_file(path: &Path) -> Result<Self> {
        let fail = |error: std::io::Error| DatabaseError::Open {
            place: path.display().to_string(),
            message: error.to_string(),
        };
        match std::fs::read(path) {
            Ok(bytes) => {
                let key: [u8; 32] = bytes.try_into().map_err(|_| DatabaseError::Open {
                    place: path.display().to_string(),
                    message: "a key has 32 bytes; restore it from the backup".to_owned(),
                })?;
                Self::new(&key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0_u8; 32];
                SystemRandom::new().fill(&mut key).map_err(|_| DatabaseError::Sealed)?;
                // Whole or not at all: a key that is half there makes every sealed value useless.
                let fresh = path.with_extension("new");
                let mut file = std::fs::OpenOptions::new();
                let mut file =
                    file.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(fail)?;
                file.write_all(&key).and_then(|()| file.sync_all()).map_err(fail)?;
                std::fs::rename(&fresh, path).map_err(fail)?;
                Self::new(&key)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// A value as it is kept.
    pub fn seal(&self, value: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE];
        SystemRandom::new().fill(&mut nonce).map_err(|_| DatabaseError::Sealed)?;
        let mut body = value.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut body)
            .map_err(|_| DatabaseError::Sealed)?;
        let mut out = nonce.to_vec();
        out.append(&mut body);
        Ok(out)
    }

    /// A kept value as it was.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE).ok_or(DatabaseError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DatabaseError::Sealed)?;
        let mut body = body.to_vec();
        let plain =
            self.key.open_in_place(nonce, Aad::empty(), &mut body).map_err(|_| DatabaseError::Sealed)?;
        Ok(plain.to_vec())
    }

    pub(crate) fn seal_json<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(value).map_err(|_| DatabaseError::Sealed)?;
        self.seal(&plain)
    }

    pub(crate) fn open_json<T: serde::de::DeserializeOwned>(&self, sealed: &[u8]) -> Result<T> {
        serde_json::from_slice(&self.open(sealed)?).map_err(|_| DatabaseError::Sealed)
    }

    pub(crate) fn open_text(&self, sealed: &[u8]) -> Result<String> {
        String::from_utf8(self.open(sealed)?).map_err(|_| DatabaseError::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret.key");
        let sealer = Sealer::from_file(&path).expect("made");
        let sealed = sealer.seal(b"value").expect("sealed");
        assert!(!sealed.windows(5).any(|w| w == b"value"));
        assert_ne!(sealed, sealer.seal(b"value").expect("sealed"), "a nonce is used once");
        let again = Sealer::from_file(&path).expect("read");
        assert_eq!(again.open(&sealed).expect("the same key"), b"value");
        let other = Sealer::new(&[7; 32]).expect("a key");
        assert!(matches!(other.open(&sealed), Err(DatabaseError::Sealed)));
        assert!(matches!(sealer.open(b"short"), Err(DatabaseError::Sealed)));
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
