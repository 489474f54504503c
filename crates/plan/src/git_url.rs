//! Git remotes: their credentials off, others on, and the project's path out of them. Used by `dirs.rs` and `sources.rs`.

/// A remote with a scheme and a host, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitUrl {
    /// In lower case.
    pub scheme: String,
    /// `user` or `user:password`.
    pub userinfo: Option<String>,
    /// `host` or `host:port`; empty for `file://`.
    pub host: String,
    /// With its leading `/`, or empty.
    pub path: String,
}

impl GitUrl {
    /// Takes `scheme://…` apart; `None` for a path and for `user@host:path`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return None;
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            userinfo,
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Whether credentials can go into it.
    pub fn is_http(&self) -> bool {
        self.scheme == "http" || self.scheme == "https"
    }

    /// The host without its port.
    pub fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// The password in it.
    pub fn password(&self) -> Option<&str> {
        self.userinfo.as_deref()?.split_once(':').map(|(_, password)| password)
    }

    /// Without credentials. An ssh user stays: it is part of the address.
    pub fn plain(&self) -> String {
        let user = match &self.userinfo {
            Some(info) if !self.is_http() => info.split(':').next().filter(|user| !user.is_empty()),
            _ => None,
        };
        match user {
            Some(user) => self.with_userinfo(user),
            None => format!("{}://{}{}", self.scheme, self.host, self.path),
        }
    }

    /// With `userinfo` in place of what there was.
    pub fn with_userinfo(&self, userinfo: &str) -> String {
        format!("{}://{userinfo}@{}{}", self.scheme, self.host, self.path)
    }

    /// The same host with another path.
    pub fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }
}

/// A user name and a password as they stand in a URL.
pub(crate) fn userinfo(user: &str, password: &str) -> String {
    let mut out = String::with_capacity(user.len() + password.len() + 1);
    escape(user, &mut out);
    out.push(':');
    escape(password, &mut out);
    out
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~$&+,;=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `group/project` of a remote, without `.git`; `None` when no safe relative path comes out of it.
pub(crate) fn project_slug(remote: &str) -> Option<String> {
    let path = match GitUrl::parse(remote) {
        Some(url) if url.scheme == "file" => return None,
        Some(url) => url.path,
        // user@host:path
        None => {
            let (host, path) = remote.split_once(':')?;
            if host.contains('/') {
                return None;
            }
            path.to_owned()
        }
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let safe = path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0');
    safe.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_2_2_slug_is_the_path_without_git() {
        for (remote, slug) in [
            ("https://u:t@h.test/birds/kestrel.git", Some("birds/kestrel")),
            ("https://h.test:8443/sub/g/p", Some("sub/g/p")),
            ("ssh://git@h.test:2222/g/p.git", Some("g/p")),
            ("git@h.test:g/p.git", Some("g/p")),
            ("https://h.test/../../etc.git", None),
            ("https://h.test/a//b.git", None),
            ("https://h.test/", None),
            ("https://h.test", None),
            ("/home/me/repo", None),
            ("file:///home/me/repo.git", None),
            ("", None),
        ] {
            assert_eq!(project_slug(remote).as_deref(), slug, "{remote}");
        }
    }

    #[test]
    fn runner_api_10_credentials_off_and_on() {
        for (remote, plain) in [
            ("https://gitlab-ci-token:s3@h.test:8/g/p.git", "https://h.test:8/g/p.git"),
            ("http://user@h.test/p", "http://h.test/p"),
            ("HTTPS://a:b@c@h.test/p", "https://h.test/p"),
            ("ssh://git:pw@h.test/p", "ssh://git@h.test/p"),
            ("file:///srv/p.git", "file:///srv/p.git"),
        ] {
            assert_eq!(GitUrl::parse(remote).expect(remote).plain(), plain);
        }
        assert_eq!(userinfo("gitlab-ci-token", "a/b@c:d%"), "gitlab-ci-token:a%2Fb%40c%3Ad%25");
    }
}
