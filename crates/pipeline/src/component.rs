//! Components: their address, and which version is meant (`ci-yaml.md` §7.4). Pure; called by includes.

/// `<host>/<project>/<name>@<version>`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub host: String,
    pub project: String,
    pub name: String,
    pub version: String,
}

impl Address {
    /// The error says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((path, version)) = text.split_once('@').filter(|(_, version)| !version.is_empty()) else {
            return Err(
                "its version is missing: add `@` and a tag, branch, commit, `~latest`, `1` or `1.2`".into()
            );
        };
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            [host, .., name]
                if parts.len() >= 4 && parts.iter().all(|part| !matches!(*part, "" | "." | "..")) =>
            {
                Ok(Self {
                    host: host.to_owned(),
                    project: parts[1..parts.len() - 1].join("/"),
                    name: name.to_owned(),
                    version: version.to_owned(),
                })
            }
            _ => Err("it is written `host/group/project/component@version`".into()),
        }
    }

    /// Where its file may be, in order.
    pub fn files(&self) -> [String; 2] {
        [format!("templates/{}.yml", self.name), format!("templates/{}/template.yml", self.name)]
    }
}

/// A semantic version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u64; 3],
    /// Without a part such as `-rc1`.
    release: bool,
}

fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let (text, _) = text.split_once('+').unwrap_or((text, ""));
    let (text, release) = match text.split_once('-') {
        Some((_, "")) => return None,
        Some((text, _)) => (text, false),
        None => (text, true),
    };
    let numbers: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    Some(Version { numbers: numbers.try_into().ok()?, release })
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Whether a name is a semantic version.
pub(crate) fn is_version(name: &str) -> bool {
    version(name).is_some()
}

/// The newest released version that `wanted` (`~latest`, `1`, `1.2`) stands for, out of the tags of a project.
pub(crate) fn pick<'t>(wanted: &str, tags: &'t [String]) -> Option<&'t str> {
    let prefix: Vec<u64> = match wanted {
        "~latest" => Vec::new(),
        partial => partial.split('.').map(number).collect::<Option<_>>()?,
    };
    if prefix.len() > 2 {
        return None;
    }
    tags.iter()
        .filter_map(|tag| Some((version(tag)?, tag.as_str())))
        .filter(|(version, _)| version.release && version.numbers.starts_with(&prefix))
        .max_by_key(|(version, _)| *version)
        .map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §7.4
    #[test]
    fn addresses() {
        let show = |text: &str| {
            Address::parse(text).map(|a| format!("{} {} {} {}", a.host, a.project, a.name, a.version))
        };
        assert_eq!(show("h.example/g/p/c@1.0").as_deref(), Ok("h.example g/p c 1.0"));
        assert_eq!(show("h:8080/g/s/p/c@~latest").as_deref(), Ok("h:8080 g/s/p c ~latest"));
        for bad in ["h/g/p/c", "h/g/p/c@", "h/p/c@1", "h//p/c/d@1", "h/g/../c@1", ""] {
            assert!(show(bad).is_err(), "{bad}");
        }
    }

    /// §7.4
    #[test]
    fn versions() {
        let tags =
            ["1.0.0", "1.2.0", "1.10.1", "2.0.0-rc1", "v1.3.0", "nightly", "1.2", "0.9.9"].map(str::to_owned);
        for (wanted, want) in [
            ("~latest", Some("1.10.1")),
            ("1", Some("1.10.1")),
            ("1.2", Some("1.2.0")),
            ("1.3", Some("v1.3.0")),
            ("0", Some("0.9.9")),
            ("2", None),
            ("2.0", None),
            ("1.2.0", None),
            ("main", None),
            ("", None),
        ] {
            assert_eq!(pick(wanted, &tags), want, "{wanted}");
        }
        assert!(is_version("1.2.3") && is_version("2.0.0-rc1") && !is_version("1.2"));
    }
}
