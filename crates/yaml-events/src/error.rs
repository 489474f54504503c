//! Why a text is not YAML, with libyaml's words and places.

/// Result of this crate.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A position: byte offset, line and character column, all from 0.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Byte offset.
    pub index: u64,
    /// Line.
    pub line: u64,
    /// Column in characters.
    pub column: u64,
}

/// Which layer found the error; it decides which place Psych reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A character that is not allowed.
    Reader,
    /// A malformed token.
    Scanner,
    /// Tokens in an impossible order.
    Parser,
}

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Which layer found it.
    pub kind: ErrorKind,
    /// What is wrong.
    pub problem: &'static str,
    /// Where.
    pub problem_mark: Mark,
    /// While doing what; empty if not known.
    pub context: &'static str,
    /// Where that began.
    pub context_mark: Mark,
    /// Byte offset, of a reader error.
    pub offset: usize,
}

impl Error {
    pub(crate) fn reader(problem: &'static str, offset: usize, _value: char) -> Self {
        let mark = Mark::default();
        Self { kind: ErrorKind::Reader, problem, problem_mark: mark, context: "", context_mark: mark, offset }
    }

    pub(crate) fn scanner(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        problem_mark: Mark,
    ) -> Self {
        Self { kind: ErrorKind::Scanner, problem, problem_mark, context, context_mark, offset: 0 }
    }

    pub(crate) fn parser(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        problem_mark: Mark,
    ) -> Self {
        Self { kind: ErrorKind::Parser, problem, problem_mark, context, context_mark, offset: 0 }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.problem)?;
        if !self.context.is_empty() {
            write!(f, " {}", self.context)?;
        }
        write!(f, " at line {} column {}", self.problem_mark.line + 1, self.problem_mark.column + 1)
    }
}

impl std::error::Error for Error {}
