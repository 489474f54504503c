//! What a remote's URL says of the project: the server and `group/name`. Pure.

/// Server and project of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Host without port.
    pub host: String,
    /// `http` or `https`; ssh and the like stand for a server reached by https.
    pub protocol: &'static str,
    /// Port of an http URL, if it names one.
    pub port: Option<u16>,
    /// `group/name`; it may have more parts.
    pub path: String,
}

impl Origin {
    /// From the URL as configured; credentials in it are dropped. `None` for remotes on this machine and for what is
    /// no URL.
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let (protocol, rest, web) = match url.split_once("://") {
            Some(("http", rest)) => ("http", rest, true),
            Some(("https", rest)) => ("https", rest, true),
            Some(("ssh" | "git" | "git+ssh" | "ssh+git", rest)) => ("https", rest, false),
            Some(_) => return None,
            // user@host:path
            None => {
                let (host, path) = url.split_once(':')?;
                if host.contains('/') || path.is_empty() {
                    return None;
                }
                return Self::of("https", host, path, false);
            }
        };
        let (host, path) = rest.split_once('/')?;
        Self::of(protocol, host, path, web)
    }

    fn of(protocol: &'static str, host: &str, path: &str, web: bool) -> Option<Self> {
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && !port.contains(']') => (name, port.parse().ok()),
            _ => (host, None),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
        let safe = !host.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        safe.then(|| Self {
            host: host.to_owned(),
            protocol,
            port: port.filter(|_| web),
            path: path.to_owned(),
        })
    }

    /// `host[:port]`
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn urls_of_all_kinds() {
        for (url, want) in [
            ("https://gitlab.com/group/sub/name.git", Some("https gitlab.com group/sub/name")),
            ("https://user:pass@git.example.org:8443/g/n", Some("https git.example.org:8443 g/n")),
            ("http://localhost:3000/g/n.git/", Some("http localhost:3000 g/n")),
            ("git@gitlab.com:group/name.git", Some("https gitlab.com group/name")),
            ("ssh://git@git.example.org:2222/g/n.git", Some("https git.example.org g/n")),
            ("host:name", Some("https host name")),
            ("/srv/git/name.git", None),
            ("../name", None),
            ("./a:b/c", None),
            ("file:///srv/git/name.git", None),
            ("https://gitlab.com/", None),
            ("https://gitlab.com/a/../b", None),
        ] {
            let got = Origin::parse(url).map(|o| format!("{} {} {}", o.protocol, o.authority(), o.path));
            assert_eq!(got.as_deref(), want, "{url}");
        }
    }
}
