//! Names of projects in addresses: `group/name`, as GitLab allows them. Pure; called by git, the API and the pages before
//! they look anything up or make anything.

/// Words that are no first part of a project: they lead elsewhere.
const RESERVED: [&str; 9] = ["-", "api", "admin", "assets", "explore", "help", "oauth", "users", "jwt"];

/// A project's path: two parts or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectPath(String);

impl ProjectPath {
    /// Checks a path, and says in words what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, String> {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() < 2 {
            return Err(format!(
                "`{path}` is no project: it needs a group or user before it, like `group/{path}`"
            ));
        }
        if path.len() > 255 || parts.len() > 20 {
            return Err("a project's path has at most 255 characters and 20 parts".to_owned());
        }
        if RESERVED.contains(&parts[0].to_ascii_lowercase().as_str()) {
            return Err(format!("`{}` cannot be the first part of a project's path", parts[0]));
        }
        match parts.iter().find(|part| !good(part)) {
            Some(part) => Err(format!(
                "`{part}` cannot be a part of a project's path: it takes letters, digits, `_`, `-` and `.`, begins with a \
                 letter, a digit or `_`, and does not end with `.`, `.git` or `.atom`"
            )),
            None => Ok(Self(path.to_owned())),
        }
    }

    /// `group/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the last part.
    pub fn namespace(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(namespace, _)| namespace)
    }
}

fn good(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && part.chars().all(plain)
        && !part.ends_with('.')
        && ![".git", ".atom"].iter().any(|end| part.to_ascii_lowercase().ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_projects() {
        for path in ["root/app", "a/b/c", "_x/a.b-c_D", "1/2"] {
            assert_eq!(ProjectPath::parse(path).expect(path).as_str(), path);
        }
        for path in [
            "app", "", "/", "a//b", "../x", "a/..", "a/.b", "a/-b", "a/b.git", "a/b.GIT", "a/b.", "api/v4",
            "-/x", "a/b c", "a/ü", "a/b\n",
        ] {
            assert!(ProjectPath::parse(path).is_err(), "{path}");
        }
        assert!(ProjectPath::parse(&"a/".repeat(30)).is_err());
        assert_eq!(ProjectPath::parse("a/b/c").expect("good").namespace(), "a/b");
    }
}
