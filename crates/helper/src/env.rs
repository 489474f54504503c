//! The environment of the helper's children and of path expansion: the runner's own, the job's variables (file
//! variables as paths), the lines of `GITLAB_ENV` (`executors.md` §2.3, §3.2). Called by every operation that
//! starts a child or expands a path. It must never print a value.

use crate::failure::Failure;
use crate::tree;
use harrier_base::{GIT_REPOSITORY_VARIABLES, is_runner_only};
use harrier_plan::HelperRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What children see.
pub(crate) struct Environment {
    job: BTreeMap<String, String>,
    files: Vec<(PathBuf, String)>,
    tmp: PathBuf,
    dir_mode: u32,
    file_mode: u32,
}

impl Environment {
    /// The environment of a request; reads the env file if there is one.
    pub(crate) fn of(request: &HelperRequest) -> Self {
        let mut job = BTreeMap::new();
        let mut files = Vec::new();
        for variable in request.variables.winners() {
            if !is_name(&variable.key) {
                continue;
            }
            let value = if variable.file {
                let path = request.dirs.file_variable(&variable.key);
                let shown = path.to_string_lossy().into_owned();
                files.push((path, variable.value.clone()));
                shown
            } else {
                variable.value.clone()
            };
            if !value.contains('\0') {
                job.insert(variable.key.clone(), value);
            }
        }
        let env_file = request.dirs.env_file();
        if let Ok(text) = std::fs::read_to_string(&env_file) {
            for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
                if is_name(name) && !value.contains('\0') {
                    job.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        job.insert("GITLAB_ENV".into(), env_file.to_string_lossy().into_owned());
        Self {
            job,
            files,
            tmp: request.dirs.tmp.clone(),
            dir_mode: request.dir_mode(),
            file_mode: request.file_mode(),
        }
    }

    /// A variable of the job.
    pub(crate) fn of_job(&self, name: &str) -> Option<&str> {
        self.job.get(name).map(String::as_str)
    }

    /// A variable of the job, else of the runner.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.job.get(name).cloned().or_else(|| std::env::var(name).ok())
    }

    /// A command with this environment.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in GIT_REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_runner_only)) {
            command.env_remove(name);
        }
        command.envs(&self.job);
        command
    }

    /// Writes the file variables where the environment says they are.
    pub(crate) fn write_file_variables(&self) -> Result<(), Failure> {
        if self.files.is_empty() {
            return Ok(());
        }
        tree::private_dir(&self.tmp, self.dir_mode)?;
        for (path, content) in &self.files {
            tree::write_private(path, content.as_bytes(), self.file_mode)?;
        }
        Ok(())
    }

    /// `text` as a shell expands it inside double quotes, without running commands: `$A`, `${A}`, `${A:-b}`,
    /// `${A-b}`, `${A:+b}`, `${A+b}`, and `\$`, `\\`, `` \` ``.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        expand(text, &|name| self.get(name), 0)
    }
}

/// Whether a shell can have a variable of this name. Also keeps file variables inside their directory.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// Paths of the file variables `keys` below `tmp`; names that are no names are left out.
pub(crate) fn file_variable_paths(tmp: &Path, keys: &[String]) -> BTreeSet<PathBuf> {
    keys.iter().filter(|key| is_name(key)).map(|key| tmp.join(key)).collect()
}

fn expand(text: &str, look_up: &dyn Fn(&str) -> Option<String>, depth: u32) -> Result<String, String> {
    if depth > 16 {
        return Err("too many nested ${...}".into());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\', '`']) {
        out.push_str(&rest[..at]);
        let mark = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        if mark == b'`' {
            return Err("a command cannot be run here".into());
        }
        if mark == b'\\' {
            match rest.chars().next() {
                Some(c @ ('$' | '\\' | '`')) => {
                    out.push(c);
                    rest = &rest[1..];
                }
                _ => out.push('\\'),
            }
            continue;
        }
        match rest.chars().next() {
            Some('(') => return Err("a command or arithmetic cannot be run here".into()),
            Some('{') => {
                let end = closing(rest).ok_or_else(|| "a ${ without its }".to_owned())?;
                out.push_str(&braced(&rest[1..end], look_up, depth)?);
                rest = &rest[end + 1..];
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                out.push_str(&look_up(&rest[..end]).unwrap_or_default());
                rest = &rest[end..];
            }
            Some('0'..='9' | '*' | '@' | '#' | '?' | '!' | '-' | '$') => rest = &rest[1..],
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Place of the `}` that closes the `{` at the start of `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn braced(inner: &str, look_up: &dyn Fn(&str) -> Option<String>, depth: u32) -> Result<String, String> {
    let end = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let (name, operator) = inner.split_at(end);
    if !is_name(name) {
        return Err(format!("${{{inner}}} is not supported here"));
    }
    let value = look_up(name);
    let (colon, operator) = match operator.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operator),
    };
    let present = value.as_ref().is_some_and(|v| !colon || !v.is_empty());
    match operator.chars().next() {
        None if !colon => Ok(value.unwrap_or_default()),
        Some('-') if present => Ok(value.unwrap_or_default()),
        Some('-') => expand(&operator[1..], look_up, depth + 1),
        Some('+') if present => expand(&operator[1..], look_up, depth + 1),
        Some('+') => Ok(String::new()),
        _ => Err(format!("${{{inner}}} is not supported here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_a_shell_does() {
        let look_up = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "DIR" => Some("build/out".to_owned()),
            _ => None,
        };
        for (text, want) in [
            ("$DIR/*.txt", "build/out/*.txt"),
            ("${DIR}x$NONE|", "build/outx|"),
            ("\\$A \\* \\\\", "$A \\* \\"),
            ("${NONE:-$A}", "1"),
            ("${EMPTY-x}${EMPTY:-y}", "y"),
            ("${A:+set}${NONE+x}", "set"),
            ("${NONE:-{a,b}}", "{a,b}"),
            ("a$", "a$"),
            ("$/x", "$/x"),
            ("€$A€", "€1€"),
        ] {
            assert_eq!(expand(text, &look_up, 0).as_deref(), Ok(want), "{text}");
        }
        for bad in ["$(ls)", "`ls`", "${A", "${A%x}", "${}"] {
            assert!(expand(bad, &look_up, 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_stay_inside_the_directory() {
        let keys = ["A".into(), "../x".into(), String::new(), "a/b".into(), "_9".into(), "9".into()];
        let paths = file_variable_paths(Path::new("/t"), &keys);
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), [PathBuf::from("/t/A"), PathBuf::from("/t/_9")]);
    }
}
