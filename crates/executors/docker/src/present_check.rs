//! Whether a job may use an image that the engine has already (`executors.md` §10.2; a deliberate difference): one that came
//! from a registry is used only by a job whose own log-in, or nobody's, may read it there. Else any job could run what
//! another project's credentials have brought here.
//!
//! Called by pulls under `if-not-present` and for images given by their id. The choice of what to ask about is pure.

use crate::auth::Login;
use crate::image_name::{ImageName, normal_registry};
use bollard::models::Identity;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A registry is not asked again for as long as this.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// What a registry has allowed counts for as long as this while it cannot be reached.
const OF_USE: Duration = Duration::from_secs(24 * 3600);

/// What the registry must let the job read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// It was made here, or somebody who may use the engine has given it this name here.
    Local,
    /// It came as one of these; one of them suffices.
    Registry(Vec<ImageName>),
}

/// Where the image that the engine found as `asked` is from, by the names the engine has for it and, where the engine keeps it
/// (API 1.53), what it knows of its origin.
pub(crate) fn provenance(
    asked: &str,
    tags: &[String],
    digests: &[String],
    identity: Option<&Identity>,
) -> Provenance {
    let built_here = identity.is_some_and(|identity| {
        identity.build.as_ref().is_some_and(|builds| !builds.is_empty())
            && identity.pull.as_ref().is_none_or(Vec::is_empty)
    });
    if built_here {
        return Provenance::Local;
    }
    let name = ImageName::parse(asked);
    // Podman's own registry of what was built here.
    let came_as: Vec<ImageName> = digests
        .iter()
        .filter_map(|text| ImageName::parse(text))
        .filter(|name| name.registry != "localhost")
        .collect();
    let same = |a: &ImageName, b: &ImageName| a.registry == b.registry && a.path == b.path;
    if let Some(name) = &name {
        let of_name: Vec<ImageName> = came_as.iter().filter(|came| same(came, name)).cloned().collect();
        if !of_name.is_empty() {
            return Provenance::Registry(of_name);
        }
        let tag = name.tag.as_deref().unwrap_or("latest");
        let named_here = tags.iter().filter_map(|text| ImageName::parse(text)).any(|tagged| {
            let here = tagged.registry == "localhost" && name.registry == normal_registry("docker.io");
            let path = name.path.strip_prefix("library/").unwrap_or(&name.path);
            tagged.tag.as_deref() == Some(tag) && (same(&tagged, name) || here && tagged.path == path)
        });
        if named_here {
            return Provenance::Local;
        }
    }
    // Found by its id: that is no secret.
    if came_as.is_empty() { Provenance::Local } else { Provenance::Registry(came_as) }
}

/// What registries have allowed in the life of this process. Kept in memory alone: it is made of log-ins.
#[derive(Default)]
pub(crate) struct Proofs {
    passed: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Proofs {
    /// The registry has let this log-in read the repository of `name`.
    pub fn note(&self, name: &ImageName, login: Option<&Login>) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.retain(|_, at| at.elapsed() < OF_USE);
        passed.insert(key(name, login), Instant::now());
    }

    /// It has refused it.
    pub fn forget(&self, name: &ImageName, login: Option<&Login>) {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name, login));
    }

    /// So lately that it need not be asked.
    pub fn is_fresh(&self, name: &ImageName, login: Option<&Login>) -> bool {
        self.age(name, login).is_some_and(|age| age < FRESH)
    }

    /// Lately enough for a registry that does not answer.
    pub fn is_of_use(&self, name: &ImageName, login: Option<&Login>) -> bool {
        self.age(name, login).is_some_and(|age| age < OF_USE)
    }

    fn age(&self, name: &ImageName, login: Option<&Login>) -> Option<Duration> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.get(&key(name, login)).map(Instant::elapsed)
    }
}

/// A repository and a log-in.
fn key(name: &ImageName, login: Option<&Login>) -> [u8; 32] {
    let mut digest = Sha256::new();
    let token = login.and_then(|login| login.identity_token.as_ref());
    let parts = [
        name.registry.as_str(),
        name.path.as_str(),
        login.map_or("", |login| &login.username),
        login.map_or("", |login| login.password.expose()),
        token.map_or("", |token| token.expose()),
    ];
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Secret;

    #[test]
    fn where_an_image_is_from() {
        let id = "a".repeat(64);
        let digest = format!("reg.io/g/app@sha256:{id}");
        for (asked, tags, digests, want) in [
            // Made here.
            ("app", vec!["app:latest"], vec![], None),
            // Pulled, and asked for by that name, by another tag, by digest.
            ("reg.io/g/app:1", vec!["reg.io/g/app:1"], vec![&*digest], Some("reg.io")),
            ("reg.io/g/app:2", vec!["reg.io/g/app:2"], vec![&*digest], Some("reg.io")),
            (&*digest, vec![], vec![&*digest], Some("reg.io")),
            // Given another name by somebody who may use the engine.
            ("mine", vec!["reg.io/g/app:1", "mine:latest"], vec![&*digest], None),
            ("mine:2", vec!["docker.io/library/mine:2"], vec![&*digest], None),
            ("mine:2", vec!["localhost/mine:2"], vec![&*digest], None),
            // By its id, whole or the beginning.
            (&*id, vec!["mine:latest"], vec![&*digest], Some("reg.io")),
            ("aaaaaaaaaaaa", vec!["mine:latest"], vec![&*digest], Some("reg.io")),
            // Podman gives what was built here a digest.
            ("localhost/app", vec!["localhost/app:latest"], vec!["localhost/app@sha256:00"], None),
            ("alpine", vec!["alpine:latest"], vec!["alpine@sha256:00"], Some("docker.io")),
        ] {
            let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let found = match provenance(asked, &owned(tags), &owned(digests), None) {
                Provenance::Local => None,
                Provenance::Registry(names) => Some(names[0].registry.clone()),
            };
            assert_eq!(found.as_deref(), want, "{asked}");
        }
    }

    #[test]
    fn an_engine_that_knows_tells_what_was_built_on_it() {
        for (identity, local) in [
            (r#"{"Build": [{"Ref": "abc", "CreatedAt": "2026-01-02T03:04:05Z"}]}"#, true),
            (r#"{"Build": [{"Ref": "abc"}], "Pull": [{"Repository": "docker.io/library/image1"}]}"#, false),
            (r#"{"Pull": [{"Repository": "docker.io/library/image1"}]}"#, false),
            // Loaded from a file, or made before the engine kept it.
            ("{}", false),
        ] {
            let identity: Identity = serde_json::from_str(identity).expect("JSON");
            let (tags, digests) = (["image1:latest".to_owned()], ["image1@sha256:00".to_owned()]);
            let found = provenance("image1", &tags, &digests, Some(&identity));
            assert_eq!(found == Provenance::Local, local, "{identity:?}");
        }
    }

    #[test]
    fn a_proof_is_for_one_repository_and_one_log_in() {
        let name = |text: &str| ImageName::parse(text).expect("a name");
        let login = |password: &str| Login {
            username: "u".into(),
            password: Secret::new(password),
            identity_token: None,
        };
        let proofs = Proofs::default();
        proofs.note(&name("reg.io/a:1"), Some(&login("p")));
        assert!(proofs.is_fresh(&name("reg.io/a:2"), Some(&login("p"))));
        assert!(!proofs.is_fresh(&name("reg.io/b:1"), Some(&login("p"))));
        assert!(!proofs.is_fresh(&name("reg.io/a:1"), Some(&login("q"))));
        assert!(!proofs.is_of_use(&name("reg.io/a:1"), None));
        proofs.forget(&name("reg.io/a"), Some(&login("p")));
        assert!(!proofs.is_of_use(&name("reg.io/a:1"), Some(&login("p"))));
    }
}
