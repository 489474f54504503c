//! The one page that the bench prints, line by line as it is measured, and the same as JSON beside it. Called by all parts.

use serde_json::{Value, json};
use std::path::Path;

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Page {
    parts: Vec<(String, Vec<Value>)>,
}

impl Page {
    /// A heading.
    pub(crate) fn part(&mut self, title: &str) {
        println!("{}{title}", if self.parts.is_empty() { "" } else { "\n" });
        self.parts.push((title.to_owned(), Vec::new()));
    }

    /// A value with its unit (none for a ratio), and what is aimed at.
    pub(crate) fn row(&mut self, label: impl AsRef<str>, value: f64, unit: &str, aim: &str) {
        let label = label.as_ref();
        let digits = if unit.is_empty() { 2 } else { 1 };
        let aim_shown = if aim.is_empty() { String::new() } else { format!(" ({aim})") };
        let unit_shown = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        println!("  {label:<52}{value:>9.digits$}{unit_shown}{aim_shown}");
        let row =
            json!({"what": label, "value": (value * 1000.0).round() / 1000.0, "unit": unit, "aim": aim});
        if let Some((_, rows)) = self.parts.last_mut() {
            rows.push(row);
        }
    }

    /// Words in place of a value.
    pub(crate) fn words(&mut self, text: &str) {
        println!("  {text}");
        if let Some((_, rows)) = self.parts.last_mut() {
            rows.push(json!({"what": text}));
        }
    }

    /// Everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let parts: Vec<Value> =
            self.parts.iter().map(|(title, rows)| json!({"part": title, "rows": rows})).collect();
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(path, format!("{:#}\n", json!({ "bench": parts })))
    }
}
