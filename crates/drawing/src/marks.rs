//! The graph in the words of other programs that draw: Mermaid and Graphviz.

use crate::graph::Graph;
use std::fmt::Write as _;

impl Graph {
    /// For Markdown that knows Mermaid.
    pub fn mermaid(&self) -> String {
        let quoted = |text: &str| {
            let mut out = String::new();
            for c in text.chars() {
                match c {
                    '"' => out.push_str("#quot;"),
                    '#' => out.push_str("#35;"),
                    '<' => out.push_str("#lt;"),
                    '>' => out.push_str("#gt;"),
                    c if c.is_control() => out.push(' '),
                    c => out.push(c),
                }
            }
            out
        };
        let mut out = String::from("flowchart LR\n");
        for (stage, (name, _)) in self.stages.iter().enumerate() {
            let _ = writeln!(out, "  subgraph s{stage}[\"{}\"]", quoted(name));
            for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.stage == stage) {
                let label = quoted(&self.label(at));
                let _ = if node.manual {
                    writeln!(out, "    j{at}([\"{label}\"])")
                } else {
                    writeln!(out, "    j{at}[\"{label}\"]")
                };
            }
            out.push_str("  end\n");
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  j{from} --> j{to}");
        }
        for stage in 1..self.stages.len() {
            if self.nodes.iter().any(|node| node.stage == stage && node.waits_for_stages) {
                let _ = writeln!(out, "  s{} -.-> s{stage}", stage - 1);
            }
        }
        out
    }

    /// For Graphviz.
    pub fn dot(&self) -> String {
        let quoted = |text: &str| {
            let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
        };
        let mut out = String::from(
            "digraph pipeline {\n  rankdir=LR;\n  compound=true;\n  node [shape=box, style=rounded];\n",
        );
        for (stage, (name, _)) in self.stages.iter().enumerate() {
            let _ = writeln!(out, "  subgraph cluster_{stage} {{\n    label={};", quoted(name));
            for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.stage == stage) {
                let style = if node.manual { ", style=\"rounded,dashed\"" } else { "" };
                let _ = writeln!(out, "    j{at} [label={}{style}];", quoted(&self.label(at)));
            }
            out.push_str("  }\n");
        }
        for (from, to) in &self.edges {
            let _ = writeln!(out, "  j{from} -> j{to};");
        }
        for stage in 1..self.stages.len() {
            let waits = self.nodes.iter().position(|node| node.stage == stage && node.waits_for_stages);
            let before = self.nodes.iter().position(|node| node.stage + 1 == stage);
            if let (Some(from), Some(to)) = (before, waits) {
                let _ = writeln!(
                    out,
                    "  j{from} -> j{to} [ltail=cluster_{}, lhead=cluster_{stage}, style=dotted];",
                    stage - 1
                );
            }
        }
        out.push_str("}\n");
        out
    }
}
