//! The name of this machine towards the server, kept in `.runner_system_id` beside `config.toml`
//! (`runner-config.md` §3.1).
//!
//! Called by every command that talks to a server.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The system id, and why it could not be kept, if so.
pub struct SystemId {
    /// `s_` or `r_` and 12 letters or digits.
    pub id: String,
    /// For the log: the id holds for this process only.
    pub not_kept: Option<String>,
}

/// Reads the id kept beside `config`, or makes one and keeps it.
pub fn system_id(config: &Path) -> SystemId {
    let dir = match config.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    let file = dir.join(".runner_system_id");
    if let Ok(text) = fs::read_to_string(&file)
        && is_valid(text.trim())
    {
        return SystemId { id: text.trim().to_owned(), not_kept: None };
    }
    let id = machine_id().map_or_else(random, |machine| from_machine(&machine));
    let not_kept = keep(dir, &file, &id).err().map(|error| {
        format!("cannot write {}: {error}; the system id {id} holds for this process only", file.display())
    });
    SystemId { id, not_kept }
}

fn keep(dir: &Path, file: &Path, id: &str) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(id.as_bytes())
}

fn is_valid(id: &str) -> bool {
    id.len() == 14
        && (id.starts_with("s_") || id.starts_with("r_"))
        && id[2..].bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn machine_id() -> Option<String> {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty())
}

fn from_machine(machine: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(machine.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(b"gitlab-runner");
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("s_{hex}")
}

fn random() -> String {
    let text = uuid::Uuid::new_v4().simple().to_string();
    format!("r_{}", &text[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_a_digest_of_the_machine_id() {
        // Made with: printf gitlab-runner | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        assert_eq!(from_machine("0123456789abcdef0123456789abcdef"), KNOWN);
        assert!(is_valid(&from_machine("x")) && is_valid(&random()));
    }

    const KNOWN: &str = "s_ee3af03959fe";

    #[test]
    fn judges_what_was_kept() {
        for (id, valid) in [
            ("s_0123456789ab", true),
            ("r_AbCdEfGh0123", true),
            ("x_0123456789ab", false),
            ("s_0123456789a", false),
            ("s_0123456789a!", false),
            ("", false),
        ] {
            assert_eq!(is_valid(id), valid, "{id}");
        }
    }
}
