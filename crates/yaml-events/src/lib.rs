//! YAML 1.1 events exactly as libyaml gives them: what is accepted, what is refused, the words and the place of
//! a refusal are those of the parser under Ruby's Psych, and so GitLab's. The parser half of libyaml-safer 0.3.0
//! (MIT, see `LICENSE-MIT`), reading from a string, with three panics mended (marked "Mended").
//!
//! Called by the YAML loader of the pipeline crate. It never resolves values, anchors or merge keys.

#![allow(
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::large_enum_variant,
    clippy::manual_range_contains,
    clippy::get_first,
    clippy::if_same_then_else,
    clippy::type_complexity,
    missing_docs
)]

#[macro_use]
mod macros;

mod error;
mod event;
mod parser;
mod reader;
mod scanner;
mod token;

pub use error::{Error, ErrorKind, Mark, Result};
pub use event::{Event, EventData};
pub use parser::Parser;
pub(crate) use parser::SimpleKey;
pub(crate) use token::{Token, TokenData};

/// `%YAML` of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VersionDirective {
    /// The major version number.
    pub major: i32,
    /// The minor version number.
    pub minor: i32,
}

/// `%TAG` of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct TagDirective {
    /// The tag handle.
    pub handle: String,
    /// The tag prefix.
    pub prefix: String,
}

/// Scalar styles.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ScalarStyle {
    /// The plain scalar style.
    Plain,
    /// The single-quoted scalar style.
    SingleQuoted,
    /// The double-quoted scalar style.
    DoubleQuoted,
    /// The literal scalar style.
    Literal,
    /// The folded scalar style.
    Folded,
}

/// Sequence styles.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SequenceStyle {
    /// The block sequence style.
    Block,
    /// The flow sequence style.
    Flow,
}

/// Mapping styles.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum MappingStyle {
    /// The block mapping style.
    Block,
    /// The flow mapping style.
    Flow,
}
