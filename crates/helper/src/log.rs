//! The job log as the helper writes it: notices in bold green as the job's shell scripts print them, and the
//! padded lines of the helper commands (`runner-api.md` §15). Called by every operation. It must never be given a
//! secret: masking is a second line of defence.

use std::fmt::Display;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

const BOLD_GREEN: &str = "\x1b[32;1m";
const BOLD_RED: &str = "\x1b[31;1m";
const YELLOW: &str = "\x1b[0;33m";
const RESET: &str = "\x1b[0;m";
/// Width to which a helper line is filled before its fields.
const COLUMN: usize = 50;

/// Where words for the user go. A log that cannot be written does not stop a job: whoever reads it is gone.
pub(crate) struct Log<'a> {
    out: &'a mut (dyn Write + Send),
    inherited: bool,
}

impl<'a> Log<'a> {
    /// Children's output is read from a pipe and copied.
    pub(crate) fn copied(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, inherited: false }
    }

    /// `out` is this process' standard output; children inherit it and standard error.
    pub(crate) fn inherited(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, inherited: true }
    }

    /// A plain line.
    pub(crate) fn line(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "{text}");
    }

    /// A step's announcement, bold green.
    pub(crate) fn notice(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "{BOLD_GREEN}{text}{RESET}");
    }

    /// A step's warning, yellow.
    pub(crate) fn caution(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "{YELLOW}{text}{RESET}");
    }

    /// What a helper command says.
    pub(crate) fn info(&mut self, text: impl Display) {
        self.told("", "", &text.to_string(), &[]);
    }

    /// As [`Self::info`] with fields behind the text; give them sorted by name.
    pub(crate) fn info_with(&mut self, text: impl Display, fields: &[(&str, String)]) {
        self.told("", "", &text.to_string(), fields);
    }

    /// `WARNING: …` of a helper command.
    pub(crate) fn warning(&mut self, text: impl Display) {
        self.told(YELLOW, "WARNING: ", &text.to_string(), &[]);
    }

    /// `WARNING: …` with fields.
    pub(crate) fn warning_with(&mut self, text: impl Display, fields: &[(&str, String)]) {
        self.told(YELLOW, "WARNING: ", &text.to_string(), fields);
    }

    /// `ERROR: …` of a helper command.
    pub(crate) fn error(&mut self, text: impl Display) {
        self.told(BOLD_RED, "ERROR: ", &text.to_string(), &[]);
    }

    /// `ERROR: …` with fields.
    pub(crate) fn error_with(&mut self, text: impl Display, fields: &[(&str, String)]) {
        self.told(BOLD_RED, "ERROR: ", &text.to_string(), fields);
    }

    fn told(&mut self, colour: &str, prefix: &str, text: &str, fields: &[(&str, String)]) {
        let width = COLUMN - prefix.len();
        let mut line = format!("{colour}{prefix}{text:<width$}{RESET} ");
        for (name, value) in fields {
            line.push_str(&format!(" {colour}{name}{RESET}={value}"));
        }
        line.push('\n');
        let _ = self.out.write_all(line.as_bytes());
    }

    /// Writes out what is held back.
    pub(crate) fn flush(&mut self) {
        let _ = self.out.flush();
    }

    /// Starts `command` with its output in this log, gives `input` on its standard input (none: `/dev/null`), and
    /// returns its exit code; 128 + n after signal n.
    pub(crate) fn child(&mut self, command: &mut Command, input: Option<&[u8]>) -> std::io::Result<i32> {
        self.flush();
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        if self.inherited {
            command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
            let mut child = command.spawn()?;
            feed(&mut child, input);
            return Ok(code(child.wait()?));
        }
        let (mut read, write) = std::io::pipe()?;
        command.stdout(write.try_clone()?).stderr(write);
        let mut child = command.spawn()?;
        // The command holds our ends of the pipe; without this the pipe would never end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        feed(&mut child, input);
        let mut buffer = [0u8; 16 * 1024];
        loop {
            match read.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let _ = self.out.write_all(&buffer[..n]);
                }
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Ok(code(child.wait()?))
    }
}

/// The texts given are small (a script, a credential description): they fit a pipe or the child reads first.
fn feed(child: &mut Child, input: Option<&[u8]>) {
    if let (Some(bytes), Some(mut to)) = (input, child.stdin.take()) {
        // A child that does not read its input says why by its exit code.
        let _ = to.write_all(bytes);
    }
}

/// The exit code as a shell shows it.
pub(crate) fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_the_runner_prints_them() {
        let mut out = Vec::new();
        let mut log = Log::copied(&mut out);
        log.notice("Created cache");
        log.info("a");
        log.error("No files to upload");
        log.info_with("x", &[("id", "7".into())]);
        let want = format!(
            "\x1b[32;1mCreated cache\x1b[0;m\n{:<50}\x1b[0;m \n\x1b[31;1mERROR: {:<43}\x1b[0;m \n{:<50}\x1b[0;m  id\x1b[0;m=7\n",
            "a", "No files to upload", "x"
        );
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn a_childs_output_and_code_arrive() {
        let mut out = Vec::new();
        let code = Log::copied(&mut out)
            .child(Command::new("sh").args(["-c", "cat; echo err >&2; exit 7"]), Some(b"in\n"))
            .expect("sh starts");
        assert_eq!((code, String::from_utf8_lossy(&out).as_ref()), (7, "in\nerr\n"));
        let killed = Log::copied(&mut out).child(Command::new("sh").args(["-c", "kill -9 $$"]), None);
        assert_eq!(killed.expect("sh starts"), 137);
    }
}
