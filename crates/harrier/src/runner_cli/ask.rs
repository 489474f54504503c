//! Questions on the terminal. With `--non-interactive` nobody is asked and a missing value is an error.
//!
//! Called by `register`. Prompts go to standard error, as GitLab Runner's do.

use super::error::CliError;
use std::io::{BufRead as _, ErrorKind, Write as _};

/// Whether there is anybody to ask.
#[derive(Clone, Copy)]
pub struct Asker {
    pub interactive: bool,
}

impl Asker {
    /// The value of `flag`: what was `given`, unless a person says otherwise.
    pub async fn ask(
        self,
        flag: &str,
        prompt: &str,
        given: Option<String>,
        may_be_empty: bool,
    ) -> Result<String, CliError> {
        let given = given.unwrap_or_default().trim().to_owned();
        if !self.interactive {
            if given.is_empty() && !may_be_empty {
                return Err(CliError::Missing { flag: flag.to_owned() });
            }
            return Ok(given);
        }
        loop {
            let mut out = std::io::stderr();
            let _ = writeln!(out, "{prompt}");
            if !given.is_empty() {
                let _ = write!(out, "[{given}]: ");
                let _ = out.flush();
            }
            let answer = read_line().await?;
            match answer.trim() {
                "" if !given.is_empty() || may_be_empty => return Ok(given),
                "" => {}
                answer => return Ok(answer.to_owned()),
            }
        }
    }
}

/// One line of standard input; its end is an error, as nobody answers any more.
async fn read_line() -> Result<String, CliError> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) => Err(std::io::Error::new(ErrorKind::UnexpectedEof, "end of input")),
            Ok(_) => Ok(line),
            Err(error) => Err(error),
        }
    });
    match read.await {
        Ok(line) => line.map_err(CliError::Answer),
        Err(error) => Err(CliError::Answer(std::io::Error::other(error))),
    }
}
