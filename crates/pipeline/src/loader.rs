//! A file's text to its content: the split into documents, the header, the complaints about files that hold nothing
//! usable (`ci-yaml.md` §1.1, §1.4). Called for the root file and by includes.

use crate::diagnostic::{Diagnostic, Place};
use crate::source::{FileId, SourceFile};
use crate::yaml::{Loaded, NodeId, Tree, load};

/// Why a file gives no content.
pub(crate) enum Unusable {
    /// Nothing in it.
    Empty(FileId),
    /// Its content is not a mapping.
    NotMapping(NodeId),
    /// Not YAML, or too big.
    Broken(Box<Diagnostic>),
}

/// A file's documents.
#[derive(Clone, Copy)]
pub(crate) struct Parsed {
    /// The whole header document, a mapping with the key `spec`.
    pub header: Option<NodeId>,
    /// The content, a mapping.
    pub content: NodeId,
}

/// Loads a file.
pub(crate) fn load_file(
    tree: &mut Tree,
    file: SourceFile,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Parsed, Unusable> {
    let text = file.text.clone();
    let id = tree.sources.add(file);
    let pieces = pieces(&text);
    let several = pieces.len() > 1;
    let mut documents = Vec::new();
    for (line, piece) in pieces {
        // A piece with nothing but comments, such as a licence above the first divider, is no document.
        match load(tree, id, piece, line, warnings).map_err(Unusable::Broken)? {
            Loaded::Document(node) if !tree.is_null(node) => documents.push(node),
            Loaded::Document(_) | Loaded::Empty => {}
        }
    }
    let Some(first) = documents.first().copied() else { return Err(Unusable::Empty(id)) };
    let is_header = |node: NodeId| tree.entry(node, "spec").is_some();
    let header = (several && is_header(first)).then_some(first);
    let content = match documents[..] {
        [.., last] if header.is_some() && documents.len() > 1 => last,
        _ if header.is_some() => return Err(Unusable::Empty(id)),
        // A header that nothing follows.
        _ if is_header(first) && tree.map(first).is_some_and(|entries| entries.len() == 1) => {
            let job = tree.get(first, "spec").is_some_and(|spec| tree.get(spec, "script").is_some());
            if !job {
                return Err(Unusable::Empty(id));
            }
            first
        }
        _ => first,
    };
    if tree.map(content).is_none() {
        return Err(Unusable::NotMapping(content));
    }
    Ok(Parsed { header, content })
}

/// A YAML mapping as JSON, read as the configuration is read, for files beside it (variables of a local run). The error is
/// a whole message with its place.
pub fn yaml_mapping(file: SourceFile) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let name = file.name.clone();
    let mut tree = Tree::default();
    let node = load_file(&mut tree, file, &mut Vec::new()).map_err(|unusable| match unusable {
        Unusable::Empty(_) => format!("{name} is empty"),
        Unusable::NotMapping(_) => format!("{name} must be a mapping"),
        Unusable::Broken(diagnostic) => crate::render(&diagnostic, &tree.sources),
    })?;
    match tree.json(node.content) {
        serde_json::Value::Object(map) => Ok(map),
        _ => Err(format!("{name} must be a mapping")),
    }
}

/// The place of a whole file, for complaints about it.
pub(crate) fn whole(file: FileId) -> Place {
    Place { file, line: 1, column: 1, end_line: 1, end_column: 2 }
}

/// The text split at lines that begin with `---` and a blank or the line's end, at most into three, blank pieces
/// dropped. Each with the number of lines before it.
fn pieces(text: &str) -> Vec<(u32, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut out: Vec<(u32, &str)> = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut at, mut line) = (0, 0u32);
    let mut dividers = 0;
    for piece in text.split_inclusive('\n') {
        let blank =
            piece.strip_prefix("---").and_then(|rest| rest.chars().next()).filter(|c| c.is_whitespace());
        // Text may follow on the line of the divider; it belongs to the next piece, at its column.
        if let Some(blank) = blank
            && dividers < 3
        {
            if dividers > 0 || !text[start..at].trim().is_empty() {
                out.push((start_line, &text[start..at]));
            }
            if out.len() == 3 {
                break;
            }
            dividers += 1;
            let rest_is_blank = piece[3..].trim().is_empty();
            (start, start_line) =
                if rest_is_blank { (at + piece.len(), line + 1) } else { (at + 3 + blank.len_utf8(), line) };
        }
        at += piece.len();
        line += 1;
    }
    if out.len() < 3 {
        out.push((start_line, &text[start.min(text.len())..]));
    }
    out.retain(|(_, piece)| !piece.trim().is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::pieces;

    /// §1.4
    #[test]
    fn documents_table() {
        for (text, want) in [
            ("a: 1\n", &[(0, "a: 1\n")][..]),
            ("---\na: 1\n", &[(1, "a: 1\n")]),
            ("--- a\n", &[(0, "a\n")]),
            ("a\n---\nb\n", &[(0, "a\n"), (2, "b\n")]),
            ("---\na\n---\nb\n", &[(1, "a\n"), (3, "b\n")]),
            ("a\n  ---\nb\n", &[(0, "a\n  ---\nb\n")]),
            ("a\n---x\n", &[(0, "a\n---x\n")]),
            ("a\n---\u{85}b\n", &[(0, "a\n"), (1, "b\n")]),
            ("a\n---\u{2003}b\n", &[(0, "a\n"), (1, "b\n")]),
            ("a\n---\nb\n---\nc\n", &[(0, "a\n"), (2, "b\n"), (4, "c\n")]),
            ("", &[]),
        ] {
            assert_eq!(pieces(text), want, "{text:?}");
        }
    }
}
