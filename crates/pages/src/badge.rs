//! Status badges as SVG, for read-me files elsewhere: they carry their own colours.

use crate::status;
use crate::texts::Language;
use harrier_pipeline::Status;
use maud::html;

/// The badge of a branch's newest pipeline; `None`: there is none. Always in English, as GitLab's.
pub fn pipeline_badge(status: Option<Status>, warning: bool) -> String {
    let look = status::look(status, warning, Language::English.texts());
    let colour = match look.class {
        "good" => "#1a7f37",
        "warn" => "#9a6700",
        "bad" => "#cf222e",
        "run" => "#0969da",
        _ => "#57606a",
    };
    badge("pipeline", look.word, colour)
}

/// The badge of a branch's coverage in per cent.
pub fn coverage_badge(coverage: Option<f64>) -> String {
    match coverage {
        Some(value) => {
            let colour = if value >= 90.0 {
                "#1a7f37"
            } else if value >= 75.0 {
                "#9a6700"
            } else {
                "#cf222e"
            };
            badge("coverage", &format!("{value:.2}%"), colour)
        }
        None => badge("coverage", "unknown", "#57606a"),
    }
}

fn badge(left: &str, right: &str, colour: &str) -> String {
    // 11 px of a sans-serif face are about 6.6 px wide a letter.
    let width = |text: &str| text.chars().count() * 66 / 10 + 12;
    let (a, b) = (width(left), width(right));
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(a + b) height="20" role="img" aria-label=(format!("{left}: {right}")) {
            title { (left) ": " (right) }
            rect width=(a + b) height="20" rx="3" fill="#3b4048" {}
            path d=(format!("M{a} 0h{}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{}z", b - 3, b - 3)) fill=(colour) {}
            g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" {
                text x=(a / 2) y="14" { (left) }
                text x=(a + b / 2) y="14" { (right) }
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn badges_say_what_is() {
        for (status, warning, word) in [
            (Some(Status::Success), false, "pipeline: passed"),
            (Some(Status::Success), true, "pipeline: passed with warnings"),
            (Some(Status::Failed), false, "pipeline: failed"),
            (None, false, "pipeline: none"),
        ] {
            assert!(pipeline_badge(status, warning).contains(word), "{word}");
        }
        assert!(coverage_badge(Some(91.256)).contains("91.26%"));
        assert!(coverage_badge(None).contains("unknown"));
    }
}
