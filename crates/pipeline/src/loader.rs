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
    /// Not YAML, too big, or of a kind this version cannot read.
    Broken(Box<Diagnostic>),
}

/// Loads a file; the node is a mapping.
pub(crate) fn load_file(
    tree: &mut Tree,
    file: SourceFile,
    warnings: &mut Vec<Diagnostic>,
) -> Result<NodeId, Unusable> {
    let text = file.text.clone();
    let id = tree.sources.add(file);
    let mut documents = Vec::new();
    for (line, piece) in pieces(&text) {
        documents.push(load(tree, id, piece, line, warnings).map_err(Unusable::Broken)?);
    }
    let mut documents = documents.into_iter();
    let Some(Loaded::Document(first)) = documents.next() else { return Err(Unusable::Empty(id)) };
    if documents.len() > 0
        && let Some(header) = tree.entry(first, "spec")
    {
        let diagnostic =
            Diagnostic::error("`spec:` headers are not supported yet by this version of Harrier")
                .at(tree.place(header.key))
                .keyword("spec")
                .suggest("take the header out and write the values where the inputs are used");
        return Err(Unusable::Broken(Box::new(diagnostic)));
    }
    if tree.is_null(first) {
        return Err(Unusable::Empty(id));
    }
    if tree.map(first).is_none() {
        return Err(Unusable::NotMapping(first));
    }
    Ok(first)
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
    match tree.json(node) {
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
        let divides = piece.strip_prefix("---").is_some_and(|rest| rest.starts_with(char::is_whitespace));
        // Text may follow on the line of the divider; it belongs to the next piece, at its column.
        if divides && dividers < 3 {
            if dividers > 0 || !text[start..at].trim().is_empty() {
                out.push((start_line, &text[start..at]));
            }
            if out.len() == 3 {
                break;
            }
            dividers += 1;
            let rest_is_blank = piece[3..].trim().is_empty();
            (start, start_line) = if rest_is_blank { (at + piece.len(), line + 1) } else { (at + 4, line) };
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
            ("a\n---\nb\n---\nc\n", &[(0, "a\n"), (2, "b\n"), (4, "c\n")]),
            ("", &[]),
        ] {
            assert_eq!(pieces(text), want, "{text:?}");
        }
    }
}
