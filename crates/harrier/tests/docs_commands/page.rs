//! A page of the documents: its blocks, and the comments in front of them that say how the tests treat them.
//!
//! A block of `sh` has one of these right before it:
//!
//! - `<!-- run: WORLD -->`: it is run, and passes. Blocks of one world on a page are run in order, in one shell: variables
//!   and the directory last from one to the next.
//! - `<!-- run: WORLD, code N -->`: its last command ends with N.
//! - `<!-- run: WORLD, until "TEXT" -->`: it goes on in the background once it has printed TEXT.
//! - `<!-- run: WORLD, until output "TEXT" -->`: it is run again and again until it prints TEXT.
//! - `<!-- norun: REASON -->`: it is not run; `NOT_RUN` in `main.rs` lists these.
//!
//! A block of another language may have `<!-- file: PATH -->`: it is written there in every world of the page.

use std::path::{Path, PathBuf};

/// How a block is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    Run { world: String, how: How },
    NotRun { reason: String },
    File { path: String },
    Shown,
}

/// How a block is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Plain,
    Code(u8),
    Until(String),
    UntilOutput(String),
}

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    pub page: String,
    /// Of its fence, counted from 1.
    pub line: usize,
    pub text: String,
    pub treatment: Treatment,
}

impl Block {
    /// For messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// `README.md`, `README.zh-CN.md` and every page below `docs/`, as paths from the root.
pub fn pages() -> Vec<String> {
    let mut pages: Vec<String> = std::fs::read_dir(root().join("docs"))
        .expect("docs/ is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    pages.extend(["README.md".to_owned(), "README.zh-CN.md".to_owned()]);
    pages.sort();
    pages
}

/// The blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut blocks = Vec::new();
    let mut comment: Option<String> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let trimmed = line.trim_start();
        if let Some(fence) = trimmed.strip_prefix("```") {
            let indent = line.len() - trimmed.len();
            let mut body = String::new();
            for (_, line) in lines.by_ref() {
                if line.trim_start().starts_with("```") {
                    break;
                }
                body.push_str(
                    line.get(indent.min(line.len() - line.trim_start().len())..).unwrap_or_default(),
                );
                body.push('\n');
            }
            let place = format!("{page}:{}", index + 1);
            let language = fence.trim().to_owned();
            assert!(
                !language.is_empty(),
                "{place}: say the language of the block, e.g. sh, yaml, toml, text"
            );
            let treatment = match comment.take() {
                Some(comment) => {
                    treatment(&comment).unwrap_or_else(|| panic!("{place}: what is `{comment}`?"))
                }
                None => Treatment::Shown,
            };
            let is_sh = language == "sh";
            let fits = match &treatment {
                Treatment::Run { .. } | Treatment::NotRun { .. } => is_sh,
                Treatment::File { .. } | Treatment::Shown => !is_sh,
            };
            assert!(
                fits,
                "{place}: a block of sh has `<!-- run: WORLD -->` or `<!-- norun: REASON -->` before it, no other block has"
            );
            blocks.push(Block { page: page.to_owned(), line: index + 1, text: body, treatment });
        } else if let Some(inner) = trimmed.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            comment = Some(inner.trim().to_owned());
        } else if !trimmed.is_empty() {
            comment = None;
        }
    }
    blocks
}

fn treatment(comment: &str) -> Option<Treatment> {
    let (word, rest) = comment.split_once(": ")?;
    match word {
        "norun" => Some(Treatment::NotRun { reason: rest.to_owned() }),
        "file" => Some(Treatment::File { path: rest.to_owned() }),
        "run" => {
            let (world, how) = rest.split_once(", ").map_or((rest, None), |(world, how)| (world, Some(how)));
            let quoted = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
            let how = match how {
                None => How::Plain,
                Some(how) => match how.split_once(' ')? {
                    ("code", number) => How::Code(number.parse().ok()?),
                    ("until", rest) => match rest.strip_prefix("output ") {
                        Some(text) => How::UntilOutput(quoted(text)?),
                        None => How::Until(quoted(rest)?),
                    },
                    _ => return None,
                },
            };
            Some(Treatment::Run { world: world.to_owned(), how })
        }
        _ => None,
    }
}
