//! Runs a user's script in a helper stage: the `pre_get_sources` and `post_get_sources` hooks (`executors.md` §4.1).
//! Called by the sources and for a script operation. The text goes to the shell's standard input, never on its
//! command line.

use crate::env::Environment;
use crate::failure::Failure;
use crate::log::Log;
use harrier_plan::{HelperRequest, Script, script_text};
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
    match log.child(&mut command, Some(script_text(script, request.shell).as_bytes())) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::Child { program: program.into(), code }),
        Err(source) => Err(Failure::Start { program: program.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_plan::{ScriptItem, Shell};
    use std::process::Command;

    #[test]
    fn items_are_echoed_and_the_first_error_ends_it() {
        let item = |text: &str, section: Option<&str>| ScriptItem {
            text: text.into(),
            section: section.map(Into::into),
        };
        let script = Script {
            items: vec![
                item("echo it\\'s \"$A\"", None),
                item("", None),
                item("if true\nthen cat\nfi", None),
                item("echo one\necho two", Some("section_pre_clone_script_0")),
                item("false | true", None),
                item("echo no", None),
            ],
            check_each: false,
            xtrace: false,
            announce: None,
        };
        for shell in [Shell::Bash, Shell::Sh] {
            let mut out = Vec::new();
            let code = Log::copied(&mut out)
                .child(Command::new("bash").env("A", "a b"), Some(script_text(&script, shell).as_bytes()))
                .expect("bash starts");
            let text = String::from_utf8_lossy(&out).into_owned();
            assert_eq!(code, 1, "{text}");
            let start = "\x1b[32;1m$ echo it\\'s \"$A\"\x1b[0;m\nit's a b\n\n\
                         \x1b[32;1m$ if true # collapsed multi-line command\x1b[0;m\nsection_start:";
            assert!(text.starts_with(start), "{text}");
            let end = "one\ntwo\n";
            assert!(text.contains(end) && text.contains(":section_pre_clone_script_0\r"), "{text}");
            assert!(text.ends_with("\x1b[32;1m$ false | true\x1b[0;m\n"), "{text}");
        }
    }
}
