//! A stage of the user as the text of a shell script (`executors.md` §3.2), for bash and for any POSIX shell. Called by
//! executors that run the user's stages; helper stages are carried out by the helper and never come here.
//!
//! The text is made for speed: no external program and no subshell but the one of the contract, unless file variables
//! must be written. Everything from outside stands in single quotes, which every shell reads alike.

use crate::{Dirs, JobPlan, Op, Script, ScriptItem, Shell, StagePlan};
use harrier_base::Variables;
use std::path::Path;

const BOLD_GREEN: &str = "\x1b[32;1m";
const BOLD_RED: &str = "\x1b[31;1m";
const YELLOW: &str = "\x1b[0;33m";
const RESET: &str = "\x1b[0;m";

impl JobPlan {
    /// The whole script of a stage that runs in the user's environment. `job_status` becomes `CI_JOB_STATUS`:
    /// `running`, or for `after_script` how the job went (`success`, `failed`, `canceled`, `timedout`).
    ///
    /// Operations that belong to the helper are left out; a stage with a [`StagePlan::fault`] prints it and fails.
    pub fn shell_text(&self, stage: &StagePlan, job_status: &str) -> String {
        let mut body = String::with_capacity(8 * 1024);
        environment(&mut body, &self.variables, &self.dirs, job_status);
        body.push_str("cd ");
        quote_path(&mut body, &self.dirs.project);
        body.push('\n');
        let mut xtrace = false;
        for op in &stage.ops {
            match op {
                Op::Script(script) => {
                    xtrace |= script.xtrace;
                    write_script(&mut body, script);
                }
                Op::Say(crate::HeaderLine::Info(text)) => say(&mut body, text),
                Op::Say(crate::HeaderLine::Warning(text)) => {
                    say(&mut body, &format!("{YELLOW}WARNING: {text}{RESET}"));
                }
                Op::Fail(text) => {
                    say(&mut body, &format!("{BOLD_RED}ERROR: {text}{RESET}"));
                    body.push_str("exit 1\n");
                }
                Op::Prepare
                | Op::Sources(_)
                | Op::ClearWorktree
                | Op::RestoreCache(_)
                | Op::SaveCache(_)
                | Op::DownloadArtifacts(_)
                | Op::UploadArtifacts(_)
                | Op::Cleanup(_) => {}
            }
        }
        wrap(self.shell, xtrace, &body)
    }
}

impl JobPlan {
    /// Text for a shell that makes a person at home in the job's place: its variables, its directory, then a shell that
    /// reads the person's input. File variables are there until that shell ends.
    pub fn visit_text(&self) -> String {
        let mut out = String::with_capacity(8 * 1024);
        environment(&mut out, &self.variables, &self.dirs, "failed");
        out.push_str("cd ");
        quote_path(&mut out, &self.dirs.project);
        out.push_str(
            " || exit 1\nif command -v bash >/dev/null 2>&1; then bash; else sh; fi\n_harrier_code=$?\n",
        );
        for v in self.variables.iter().filter(|v| v.file) {
            out.push_str("rm -f ");
            quote_path(&mut out, &self.dirs.file_variable(&v.key));
            out.push('\n');
        }
        out.push_str("exit $_harrier_code\n");
        out
    }
}

/// One script by itself, as the text that `shell` reads; its variables are already in the environment. For hooks that the
/// helper runs between its own operations.
pub fn script_text(script: &Script, shell: Shell) -> String {
    let mut body = String::new();
    write_script(&mut body, script);
    wrap(shell, script.xtrace, &body)
}

/// Steps 1 to 7 of `executors.md` §3.2.
fn wrap(shell: Shell, xtrace: bool, body: &str) -> String {
    let mut out = String::with_capacity(body.len() + body.len() / 4 + 512);
    out.push_str("#!/usr/bin/env ");
    out.push_str(shell.program());
    out.push_str("\n\ntrap 'exit 1' TERM\n");
    if xtrace {
        out.push_str("set -o xtrace\n");
    }
    match shell {
        Shell::Bash => out.push_str("set -o pipefail\n"),
        // Not every sh has it, and one that has not ends at once: ask in a subshell.
        Shell::Sh => out.push_str("if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"),
    }
    out.push_str("set -o errexit\nset +o noclobber\n(trap 'exit 1' TERM; eval ");
    quote(&mut out, body);
    out.push_str(") </dev/null\nexit 0\n");
    out
}

/// Exports, file variables, env file.
fn environment(out: &mut String, variables: &Variables, dirs: &Dirs, job_status: &str) {
    for v in variables.iter().filter(|v| !v.file && v.key != "CI_JOB_STATUS") {
        export(out, &v.key, &v.value);
    }
    export(out, "CI_JOB_STATUS", job_status);
    let tmp = quoted_path(&dirs.tmp);
    let env_file = quoted_path(&dirs.env_file());
    let files: Vec<_> = variables.iter().filter(|v| v.file).collect();
    if files.is_empty() {
        out.push_str(&format!("[ -d {tmp} ] || (umask 077; mkdir -p {tmp})\n"));
    } else {
        // A subshell, so that the umask of the user's commands stays what it was.
        out.push_str(&format!("(umask 077; [ -d {tmp} ] || mkdir -p {tmp}\n"));
        for v in &files {
            out.push_str("printf %s ");
            quote(out, &v.value);
            out.push_str(" >");
            quote_path(out, &dirs.file_variable(&v.key));
            out.push('\n');
        }
        out.push_str(")\n");
        for v in &files {
            export(out, &v.key, &dirs.file_variable(&v.key).to_string_lossy());
        }
    }
    export(out, "GITLAB_ENV", &dirs.env_file().to_string_lossy());
    // Each line KEY=VALUE is exported as it stands. Lines of another form are passed over: in a POSIX shell
    // exporting one would end the script.
    out.push_str(&format!(
        "[ -e {env_file} ] || (umask 077; : >{env_file})\n\
         while read -r _harrier_line || [ -n \"$_harrier_line\" ]; do\n\
         case \"${{_harrier_line%%=*}}\" in\n\
         \"$_harrier_line\"|''|[0-9]*|*[!A-Za-z0-9_]*) ;;\n\
         *) export \"$_harrier_line\" || : ;;\n\
         esac\n\
         done <{env_file}\n\
         unset _harrier_line\n"
    ));
}

fn export(out: &mut String, key: &str, value: &str) {
    out.push_str("export ");
    out.push_str(key);
    out.push('=');
    quote(out, value);
    out.push('\n');
}

fn write_script(out: &mut String, script: &Script) {
    if let Some(text) = &script.announce {
        say(out, &format!("{BOLD_GREEN}{text}{RESET}"));
    }
    for item in &script.items {
        write_item(out, item);
        if script.check_each && !item.text.is_empty() {
            out.push_str(
                "_runner_exit_code=$?; if [ $_runner_exit_code -ne 0 ]; then exit $_runner_exit_code; fi\n",
            );
        }
    }
}

/// Echo, then the command; both within a section if there is one (`runner-api.md` §15.4).
fn write_item(out: &mut String, item: &ScriptItem) {
    if item.text.is_empty() {
        out.push_str("echo\n");
        return;
    }
    if let Some(section) = &item.section {
        marker(out, "section_start", section, "[hide_duration=true,collapsed=true]");
        say(out, &format!("{BOLD_GREEN}$ {}{RESET}", item.text));
        out.push_str(&item.text);
        out.push('\n');
        // The marker must not change what the next command sees in $?, nor what an exit check sees.
        out.push_str("_harrier_code=$?\n");
        marker(out, "section_end", section, "");
        out.push_str("(exit $_harrier_code)\n");
        return;
    }
    match item.text.split_once('\n') {
        None => say(out, &format!("{BOLD_GREEN}$ {}{RESET}", item.text)),
        Some((first, _)) => say(
            out,
            &format!("{BOLD_GREEN}$ {} # collapsed multi-line command{RESET}", first.trim_end_matches('\r')),
        ),
    }
    out.push_str(&item.text);
    out.push('\n');
}

/// bash 5 knows the time itself; another shell asks `date`.
fn marker(out: &mut String, kind: &str, section: &str, options: &str) {
    out.push_str(&format!(
        "printf '{kind}:%s:{section}{options}\\r\\033[0K' \"${{EPOCHSECONDS:-$(date +%s)}}\"\n"
    ));
}

/// Prints a line whatever is in it: some shells' `echo` would read backslashes.
fn say(out: &mut String, text: &str) {
    out.push_str("printf '%s\\n' ");
    quote(out, text);
    out.push('\n');
}

fn quoted_path(path: &Path) -> String {
    let mut out = String::new();
    quote_path(&mut out, path);
    out
}

fn quote_path(out: &mut String, path: &Path) {
    quote(out, &path.to_string_lossy());
}

/// One word of the shell with exactly these bytes. NUL, which no shell can hold, is dropped.
fn quote(out: &mut String, text: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    out.reserve(text.len() + 2);
    out.push('\'');
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '\0']) {
        out.push_str(&rest[..at]);
        if rest.as_bytes()[at] == b'\'' {
            out.push_str("'\\''");
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('\'');
}
