//! Command lines and environments of stages (`executors.md` §3.2).

use harrier_base::is_runner_only;
use harrier_plan::{JobPlan, Shell};
use std::path::{Path, PathBuf};

/// A program and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    pub program: PathBuf,
    pub args: Vec<String>,
}

/// The login shell that reads a script from its standard input.
pub(crate) fn login_shell(shell: Shell, user: Option<&str>) -> CommandLine {
    let name = shell.program();
    match user {
        None => CommandLine { program: name.into(), args: vec!["-l".into()] },
        Some(user) => as_user(shell, user, format!("{name} -l")),
    }
}

/// The helper that reads its request from its standard input.
pub(crate) fn helper(own_binary: &Path, shell: Shell, user: Option<&str>) -> CommandLine {
    match user {
        None => CommandLine { program: own_binary.to_owned(), args: vec![HELPER.into()] },
        Some(user) => as_user(shell, user, format!("{} {HELPER}", quoted(own_binary))),
    }
}

/// First argument of the binary when it is to be a helper.
const HELPER: &str = "__helper";

fn as_user(shell: Shell, user: &str, command: String) -> CommandLine {
    CommandLine {
        program: "su".into(),
        args: vec!["-s".into(), format!("/bin/{}", shell.program()), user.into(), "-c".into(), command],
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

/// Variables of this process that its jobs must not see.
pub(crate) fn hidden() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| is_runner_only(name))
        .collect()
}

/// The job's variables for the process of a helper, which needs them for itself (proxies, certificates); a file
/// variable is the path of its file.
pub(crate) fn job_environment(job: &JobPlan) -> Vec<(String, String)> {
    job.variables
        .winners()
        .into_iter()
        .filter(|v| !v.key.is_empty() && !v.key.contains(['=', '\0']))
        .map(|v| match v.file {
            true => (v.key.clone(), job.dirs.file_variable(&v.key).to_string_lossy().into_owned()),
            false => (v.key.clone(), v.value.clone()),
        })
        .filter(|(_, value)| !value.contains('\0'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: &str, args: &[&str]) -> CommandLine {
        CommandLine { program: program.into(), args: args.iter().map(|a| (*a).to_owned()).collect() }
    }

    #[test]
    fn command_lines() {
        assert_eq!(login_shell(Shell::Bash, None), line("bash", &["-l"]));
        assert_eq!(login_shell(Shell::Sh, Some("ci")), line("su", &["-s", "/bin/sh", "ci", "-c", "sh -l"]));
        assert_eq!(
            helper(Path::new("/usr/bin/harrier"), Shell::Bash, None),
            line("/usr/bin/harrier", &["__helper"])
        );
        assert_eq!(
            helper(Path::new("/o'd dir/harrier"), Shell::Bash, Some("ci")),
            line("su", &["-s", "/bin/bash", "ci", "-c", r"'/o'\''d dir/harrier' __helper"])
        );
    }
}
