//! Image references, taken apart as the engine does.
//!
//! Called by pulls and by the look-up of credentials. Pure.

/// A reference in its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    /// `docker.io`, `registry.example:5000`, …; lower case.
    pub registry: String,
    /// `library/alpine`, `group/project/image`.
    pub path: String,
    /// `latest`, if given.
    pub tag: Option<String>,
    /// `sha256:…`, if given.
    pub digest: Option<String>,
    /// As the user wrote it.
    pub given: String,
}

impl ImageName {
    /// Takes a reference apart. An image id (64 hex digits, or `sha256:` and those) is no name: `None`.
    pub fn parse(given: &str) -> Option<Self> {
        let given = given.trim();
        let id = given.strip_prefix("sha256:").unwrap_or(given);
        if given.is_empty() || (id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())) {
            return None;
        }
        let (rest, digest) = match given.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (given, None),
        };
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (rest, tag) = match rest[last_slash..].find(':') {
            Some(at) => (&rest[..last_slash + at], Some(rest[last_slash + at + 1..].to_owned())),
            None => (rest, None),
        };
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (normal_registry(first), path.to_owned())
            }
            _ => ("docker.io".to_owned(), rest.to_owned()),
        };
        let path =
            if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        Some(Self { registry, path, tag, digest, given: given.to_owned() })
    }

    /// What a pull asks for: `latest` when neither tag nor digest is given.
    pub fn pull_reference(&self) -> String {
        if self.tag.is_none() && self.digest.is_none() {
            format!("{}:latest", self.given)
        } else {
            self.given.clone()
        }
    }

    /// `registry/path`, then each parent, down to the registry: the order in which credentials are looked up.
    pub fn credential_keys(&self) -> Vec<String> {
        let mut key = format!("{}/{}", self.registry, self.path);
        let mut keys = vec![key.clone()];
        while let Some(at) = key.rfind('/') {
            key.truncate(at);
            keys.push(key.clone());
        }
        keys
    }
}

/// The one name of a registry: Docker Hub's many are `docker.io`; host lower case.
pub fn normal_registry(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_references_apart() {
        for (given, registry, path, tag) in [
            ("alpine", "docker.io", "library/alpine", None),
            ("alpine:3.20", "docker.io", "library/alpine", Some("3.20")),
            ("user/app", "docker.io", "user/app", None),
            ("index.docker.io/user/app:1", "docker.io", "user/app", Some("1")),
            ("localhost:5000/a/b:c", "localhost:5000", "a/b", Some("c")),
            ("localhost/a", "localhost", "a", None),
            ("Reg.Example/g/s/i", "reg.example", "g/s/i", None),
        ] {
            let name = ImageName::parse(given).expect(given);
            assert_eq!((&*name.registry, &*name.path, name.tag.as_deref()), (registry, path, tag), "{given}");
        }
        assert_eq!(ImageName::parse(&"a".repeat(64)), None);
        assert_eq!(ImageName::parse(""), None);
    }

    #[test]
    fn pulls_latest_only_when_nothing_is_said() {
        for (given, pull) in
            [("a", "a:latest"), ("a:b", "a:b"), ("r:5/a", "r:5/a:latest"), ("a@sha256:00", "a@sha256:00")]
        {
            assert_eq!(ImageName::parse(given).expect(given).pull_reference(), pull);
        }
    }

    #[test]
    fn looks_up_the_longest_path_first() {
        let name = ImageName::parse("reg.io:5/g/s/i:1").expect("name");
        assert_eq!(name.credential_keys(), ["reg.io:5/g/s/i", "reg.io:5/g/s", "reg.io:5/g", "reg.io:5"]);
    }
}
