//! Pipelines drawn: stages and needs as text for a terminal, as SVG, as Mermaid and for Graphviz.
//!
//! Called by `harrier graph`; pages can show the SVG. It must never decide anything about a pipeline, and never write
//! anywhere: texts come out.

mod graph;
mod marks;
mod svg;
mod terminal;

pub use graph::{Graph, Node};
pub use terminal::{ASCII, BOXES, Charset, columns, width};
