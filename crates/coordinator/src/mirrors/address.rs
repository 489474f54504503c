//! The address of a mirror as a person gives it: http, https or ssh, the log-in apart. Pure; called by `harrier project`, the API,
//! the pages and before each fetch. Which of these addresses may be reached is the policy's to say, when it is resolved.

use harrier_base::Secret;
use harrier_database::Login;
use harrier_includes::Url;

/// Where a mirror is fetched from, without a log-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorAddress(Url);

impl MirrorAddress {
    /// Reads an address, and the log-in it may hold; says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<(Self, Option<Login>), String> {
        let text = text.trim();
        let wanted = "a mirror needs an address that begins with https://, http:// or ssh://, or one like git@host:group/name.git";
        let url = match (text.split_once("://"), text.split_once(':')) {
            (Some(_), _) => Url::parse(text),
            // `host:path`, as scp has it.
            (None, Some((host, path)))
                if !host.is_empty() && !host.contains('/') && !path.is_empty() && !path.starts_with(':') =>
            {
                Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/')))
            }
            (None, _) => return Err(wanted.to_owned()),
        };
        let mut url = url.map_err(|why| format!("this is no address ({why}); {wanted}"))?;
        if !matches!(url.scheme(), "http" | "https" | "ssh") {
            return Err(format!("addresses that begin with {}:// are not mirrored; {wanted}", url.scheme()));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() || host.starts_with('-') || !host.chars().all(plain) || url.path().len() < 2 {
            return Err(format!("the address names no repository on a host; {wanted}"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the address of a repository has no `?` and no `#`".to_owned());
        }
        let username = decode(url.username());
        let password = url.password().map(decode);
        let ssh = url.scheme() == "ssh";
        if ssh && (password.is_some() || username.starts_with('-') || !username.chars().all(plain)) {
            return Err(
                "an ssh address has a plain user name and no password; the log-in is a key".to_owned()
            );
        }
        let login = match (ssh, password) {
            (false, Some(password)) => {
                Some(Login { username, password: Some(Secret::new(password)), key: None })
            }
            (false, None) if !username.is_empty() => {
                // `https://TOKEN@host/…`
                Some(Login { username: String::new(), password: Some(Secret::new(username)), key: None })
            }
            _ => None,
        };
        if !ssh {
            // Neither can fail for an address with a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        Ok((Self(url), login))
    }

    /// As it is kept and shown.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The last part of its path, as a project's name.
    pub fn name(&self) -> &str {
        let last = self.0.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".git").unwrap_or(last)
    }

    /// It is fetched over ssh.
    pub fn is_ssh(&self) -> bool {
        self.0.scheme() == "ssh"
    }

    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(22)
    }

    pub(super) fn scheme(&self) -> &str {
        self.0.scheme()
    }
}

/// What may be in a host or user name that is given to a program.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':')
}

fn decode(text: &str) -> String {
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_lose_their_log_in() {
        for (text, url, login) in [
            ("https://git.example/g/p.git", "https://git.example/g/p.git", None),
            (
                "https://me:to%2Bken@git.example:8443/g/p",
                "https://git.example:8443/g/p",
                Some(("me", "to+ken")),
            ),
            ("https://token@git.example/g/p", "https://git.example/g/p", Some(("", "token"))),
            ("http://2130706433/p", "http://127.0.0.1/p", None),
            ("ssh://git@git.example:2222/g/p.git", "ssh://git@git.example:2222/g/p.git", None),
            ("git@git.example:g/p.git", "ssh://git@git.example/g/p.git", None),
        ] {
            let (address, found) = MirrorAddress::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(address.as_str(), url, "{text}");
            let found = found.map(|login| {
                (login.username, login.password.map(|word| word.expose().to_owned()).unwrap_or_default())
            });
            assert_eq!(found, login.map(|(name, word)| (name.to_owned(), word.to_owned())), "{text}");
        }
        assert_eq!(MirrorAddress::parse("git@h:g/p.git").expect("good").0.name(), "p");
    }

    #[test]
    fn what_git_would_run_or_read_here_is_no_address() {
        for text in [
            "file:///etc",
            "/srv/git/p.git",
            "../p",
            "ext::sh -c date",
            "ext://sh",
            "git://git.example/p",
            "https://",
            "https://git.example",
            "https://git.example/p?x=1",
            "https://git.example/p#x",
            "ssh://me:word@git.example/p",
            "ssh://-oProxyCommand=x/p",
            "-oProxyCommand=x:p",
            "ssh://git.example/",
            "ssh://$(x)/p",
            "fd::17/p",
            "",
        ] {
            assert!(MirrorAddress::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics_and_what_is_kept_reads_as_itself(text in "(https|ssh|http|file)?(://|:|)[-a-z:@/.%$ ]{0,20}") {
            if let Ok((address, _)) = MirrorAddress::parse(&text) {
                let (again, login) = MirrorAddress::parse(address.as_str()).expect("it was read before");
                proptest::prop_assert_eq!(&again, &address);
                proptest::prop_assert!(login.is_none());
            }
        }
    }
}
