//! Drawings of small pipelines, and properties of any.

use harrier_drawing::{ASCII, BOXES, Graph, Node};
use proptest::prelude::*;

fn node(name: &str, stage: usize, column: usize) -> Node {
    Node { name: name.into(), notes: Vec::new(), stage, column, waits_for_stages: false, manual: false }
}

fn diamond() -> Graph {
    Graph {
        stages: vec![("build".into(), 0), ("test".into(), 1), ("deploy".into(), 2)],
        nodes: vec![node("compile", 0, 0), node("unit", 1, 1), node("lint", 1, 1), node("ship", 2, 2)],
        edges: vec![(0, 1), (0, 2), (1, 3), (2, 3)],
        columns: 3,
    }
}

#[test]
fn a_diamond() {
    assert_eq!(
        diamond().text(BOXES),
        "\
build         test         deploy

compile ─╮          ╭─┬──▶ ship
         ├──▶ unit ─╯ │
         │            │
         ╰──▶ lint ───╯
",
        "{}",
        diamond().text(BOXES)
    );
    assert!(diamond().text(ASCII).is_ascii());
}

#[test]
fn names_are_anybodys() {
    let mut graph = diamond();
    graph.nodes[0].name = "a\"<b>&'#\u{1b}[31m\n".into();
    let svg = graph.svg();
    assert!(svg.contains("a&quot;&lt;b&gt;&amp;'# [31m "), "{svg}");
    let mermaid = graph.mermaid();
    assert!(mermaid.contains("j0[\"a#quot;#lt;b#gt;&'#35; [31m \"]"), "{mermaid}");
    assert!(graph.dot().contains("label=\"a\\\"<b>&'# [31m \""), "{}", graph.dot());
    assert!(!graph.text(BOXES).contains('\u{1b}'));
}

/// A graph in which every edge leads to the right.
fn graphs() -> impl Strategy<Value = Graph> {
    (
        1..6usize,
        prop::collection::vec(0..6usize, 1..14),
        prop::collection::vec((0..14usize, 0..14usize), 0..30),
    )
        .prop_map(|(columns, places, pairs)| {
            let nodes: Vec<Node> = places
                .iter()
                .enumerate()
                .map(|(at, column)| node(&format!("j{at}"), column % columns, column % columns))
                .collect();
            let mut edges: Vec<(usize, usize)> = pairs
                .into_iter()
                .filter(|(a, b)| *a < nodes.len() && *b < nodes.len())
                .filter(|(a, b)| nodes[*a].column < nodes[*b].column)
                .collect();
            edges.sort_unstable();
            edges.dedup();
            let stages = (0..columns).map(|at| (format!("s{at}"), at)).collect();
            Graph { stages, nodes, edges, columns }
        })
}

/// Where a line that leaves a cell may go, by its sign.
fn ways(sign: char) -> &'static [(isize, isize)] {
    match sign {
        '─' => &[(0, -1), (0, 1)],
        '│' => &[(-1, 0), (1, 0)],
        '╯' => &[(0, -1), (-1, 0)],
        '╰' => &[(0, 1), (-1, 0)],
        '╮' => &[(0, -1), (1, 0)],
        '╭' => &[(0, 1), (1, 0)],
        '┴' => &[(0, -1), (0, 1), (-1, 0)],
        '┬' => &[(0, -1), (0, 1), (1, 0)],
        '┤' => &[(0, -1), (-1, 0), (1, 0)],
        '├' => &[(0, 1), (-1, 0), (1, 0)],
        '┼' => &[(0, -1), (0, 1), (-1, 0), (1, 0)],
        _ => &[],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every job is there, and whoever follows the lines from a job to the right comes to the jobs that need it.
    #[test]
    fn lines_lead_from_the_needed_to_the_needing(graph in graphs()) {
        let text = graph.text(BOXES);
        let cells: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        let at = |row: isize, column: isize| -> char {
            let (Ok(row), Ok(column)) = (usize::try_from(row), usize::try_from(column)) else { return ' ' };
            cells.get(row).and_then(|line| line.get(column)).copied().unwrap_or(' ')
        };
        let mut places = Vec::new();
        for node in &graph.nodes {
            let found = cells.iter().enumerate().skip(1).find_map(|(row, line)| {
                let line: String = line.iter().collect();
                let byte = line.match_indices(&node.name).find(|(at, name)| {
                    !line[at + name.len()..].starts_with(|c: char| c.is_ascii_digit())
                })?.0;
                Some((row as isize, line[..byte].chars().count() as isize))
            });
            prop_assert!(found.is_some(), "{} is missing\n{}", node.name, text);
            places.extend(found);
        }
        for (from, to) in &graph.edges {
            let (row, column) = places[*from];
            let start = (row, column + graph.nodes[*from].name.len() as isize + 1);
            let (goal_row, goal) = places[*to];
            let mut open = vec![start];
            let mut seen = std::collections::HashSet::new();
            let mut reached = false;
            while let Some((row, column)) = open.pop() {
                if !seen.insert((row, column)) {
                    continue;
                }
                let sign = at(row, column);
                if sign == '▶' && row == goal_row && column == goal - 2 {
                    reached = true;
                }
                for (down, right) in ways(sign) {
                    open.push((row + down, column + right));
                }
                // A flat line goes on behind an upright one.
                if sign == '─' && at(row, column + 1) == '│' {
                    open.push((row, column + 2));
                }
                if sign == '─' && at(row, column + 1) != ' ' {
                    open.push((row, column + 1));
                }
            }
            prop_assert!(reached, "no line from {} to {}\n{}", graph.nodes[*from].name, graph.nodes[*to].name, text);
        }
        for text in [graph.svg(), graph.mermaid(), graph.dot()] {
            prop_assert!(graph.nodes.iter().all(|node| text.contains(&node.name)));
        }
    }
}
