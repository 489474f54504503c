//! Runs a user's script in a helper stage: the `pre_get_sources` and `post_get_sources` hooks (`executors.md` §4.1).
//! Called by the sources and for a script operation. The text goes to the shell's standard input, never on its
//! command line.

use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
use harrier_plan::{HelperRequest, Script, Shell};
use std::path::Path;

/// Runs `script` by the job's login shell in `dir`.
pub(crate) fn run(
    script: &Script,
    request: &HelperRequest,
    env: &Environment,
    dir: &Path,
    log: &mut Log<'_>,
) -> Result<(), Failure> {
    env.write_file_variables()?;
    let program = request.shell.program();
    let mut command = env.command(program);
    command.arg("-l").current_dir(dir);
    match log.child(&mut command, Some(text(script, request.shell).as_bytes())) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::Child { program: program.into(), code }),
        Err(source) => Err(Failure::Start { program: program.into(), source }),
    }
}

/// As the job's own scripts run (`executors.md` §3.2): errors end it, standard input is empty.
fn text(script: &Script, shell: Shell) -> String {
    let mut body = String::new();
    if let Some(words) = &script.announce {
        body.push_str(&notice(words));
    }
    for item in &script.items {
        let command = item.text.trim();
        match command.split_once('\n') {
            None if command.is_empty() => body.push_str("echo\n"),
            None => body.push_str(&notice(&format!("$ {command}"))),
            Some((first, _)) => body.push_str(&notice(&format!("$ {first} # collapsed multi-line command"))),
        }
        body.push_str(command);
        body.push('\n');
        if script.check_each {
            body.push_str("_harrier_code=$?; if [ $_harrier_code -ne 0 ]; then exit $_harrier_code; fi\n");
        }
    }
    let trace = if script.xtrace { "set -o xtrace\n" } else { "" };
    let pipefail = match shell {
        Shell::Bash => "set -o pipefail\n",
        Shell::Sh => "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n",
    };
    format!("{trace}{pipefail}set -o errexit\nset +o noclobber\neval {} < /dev/null\nexit 0\n", quoted(&body))
}

fn notice(words: &str) -> String {
    format!("printf '%s\\n' {}\n", quoted(&format!("\x1b[32;1m{words}\x1b[0;m")))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_plan::ScriptItem;
    use std::process::Command;

    #[test]
    fn items_are_echoed_and_the_first_error_ends_it() {
        let item = |text: &str| ScriptItem { text: text.into(), section: None };
        let script = Script {
            items: vec![
                item("echo it\\'s \"$A\""),
                item(""),
                item("if true\nthen cat\nfi"),
                item("false | true"),
                item("echo no"),
            ],
            check_each: false,
            xtrace: false,
            announce: None,
        };
        for shell in [Shell::Bash, Shell::Sh] {
            let mut out = Vec::new();
            let code = Log::copied(&mut out)
                .child(Command::new("bash").env("A", "a b"), Some(text(&script, shell).as_bytes()))
                .expect("bash starts");
            assert_eq!(
                (code, String::from_utf8_lossy(&out).as_ref()),
                (
                    1,
                    "\x1b[32;1m$ echo it\\'s \"$A\"\x1b[0;m\nit's a b\n\n\
                     \x1b[32;1m$ if true # collapsed multi-line command\x1b[0;m\n\
                     \x1b[32;1m$ false | true\x1b[0;m\n"
                )
            );
        }
    }
}
