//! The command of the build container (`executors.md` §3.2): find a shell, become it. Pure.

/// bash before sh, each in the usual places; busybox images may have theirs elsewhere.
pub(crate) const SHELLS: [&str; 7] = [
    "/usr/local/bin/bash",
    "/usr/bin/bash",
    "/bin/bash",
    "/usr/local/bin/sh",
    "/usr/bin/sh",
    "/bin/sh",
    "/busybox/sh",
];

/// `sh -c …`, the found shell reading its script from standard input.
pub(crate) fn command() -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), text()]
}

fn text() -> String {
    let mut text = String::new();
    for (at, shell) in SHELLS.iter().enumerate() {
        let word = if at == 0 { "if" } else { "elif" };
        text.push_str(&format!("{word} [ -x {shell} ]; then\n\texec {shell}\n"));
    }
    text.push_str("else\n\techo shell not found\n\texit 1\nfi\n");
    text
}

/// A script that a shell runs whole or not at all: a shell that loses its input before the end finds an unfinished
/// command, runs nothing and ends with an error.
pub(crate) fn all_or_nothing(script: &str) -> String {
    format!("{{\n{script}\n}}\n")
}

/// The first words of a container that ended, enough to know them by.
#[derive(Default)]
pub(crate) struct FirstWords(Vec<u8>);

impl FirstWords {
    const ENOUGH: usize = 256;

    /// Takes a part of what it says.
    pub fn hear(&mut self, bytes: &[u8]) {
        let room = Self::ENOUGH.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
    }

    /// The engine's init (tini; catatonit with Podman) says that it has found no `sh`.
    pub fn tell_of_no_shell(&self, code: i64) -> bool {
        let text = String::from_utf8_lossy(&self.0);
        let tini = text.starts_with("[FATAL tini") && text.contains("exec sh failed");
        let catatonit = text.starts_with("ERROR (catatonit") && text.contains("failed to exec pid1");
        matches!(code, 126 | 127) && (tini || catatonit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn run(input: &str) -> (Option<i32>, String) {
        let words = command();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("ended");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn an_image_without_a_shell_is_known_by_its_first_words() {
        for (said, code, told) in [
            (&["[FATAL tini (7)] exec sh fail", "ed: No such file or directory\n"][..], 127, true),
            (&["[FATAL tini (7)] exec sh failed: No such file or directory\n"], 1, false),
            (&["ERROR (catatonit:2): failed to exec pid1: No such file or directory\n"], 127, true),
            (&["sh: make: not found\n"], 127, false),
            (&[], 127, false),
        ] {
            let mut words = FirstWords::default();
            for part in said {
                words.hear(part.as_bytes());
            }
            assert_eq!(words.tell_of_no_shell(code), told, "{said:?} {code}");
        }
    }

    #[test]
    fn finds_a_shell_that_runs_the_whole_script_or_nothing() {
        let script = all_or_nothing("#!/bin/sh\necho one\n(eval 'echo two; exit 3') </dev/null\n");
        assert_eq!(run(&script), (Some(3), "one\ntwo\n".to_owned()));
        for end in 1..script.len() - 1 {
            let (code, out) = run(&script[..end]);
            assert_eq!(out, "", "cut at {end}");
            assert_ne!(code, Some(0), "cut at {end}");
        }
    }
}
