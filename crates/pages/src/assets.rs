//! The style sheet, the scripts and the sign, as part of the program. Their addresses carry their version, so that browsers
//! may keep them for ever.

use crate::colours;
use maud::{Markup, PreEscaped};
use std::sync::LazyLock;

/// A file for the browser.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its content type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

static STYLE: LazyLock<String> =
    LazyLock::new(|| format!("{}{}", include_str!("../assets/harrier.css"), colours::style_sheet()));
const SCRIPT: &str = include_str!("../assets/harrier.js");
const THEME: &str = include_str!("../assets/theme.js");
const SIGN: &str = include_str!("../assets/harrier.svg");

/// What is at `/-/assets/<name>`; the query is not looked at.
pub fn asset(name: &str) -> Option<Asset> {
    let (content_type, text): (_, &'static str) = match name {
        "harrier.css" => ("text/css; charset=utf-8", STYLE.as_str()),
        "harrier.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "theme.js" => ("text/javascript; charset=utf-8", THEME),
        "harrier.svg" => ("image/svg+xml", SIGN),
        _ => return None,
    };
    Some(Asset { content_type, bytes: text.as_bytes() })
}

/// The address of an asset.
pub(crate) fn path(name: &str) -> String {
    let bytes = asset(name).map_or(&[][..], |asset| asset.bytes);
    // FNV-1a: only to tell one version from another.
    let mark = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |mark, byte| {
        (mark ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("/-/assets/{name}?{mark:016x}")
}

/// The sign beside the name.
pub(crate) fn sign() -> Markup {
    PreEscaped(SIGN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_there() {
        for name in ["harrier.css", "harrier.js", "theme.js", "harrier.svg"] {
            assert!(!asset(name).expect("it is named").bytes.is_empty());
            assert!(path(name).starts_with("/-/assets/"));
        }
        assert!(asset("../Cargo.toml").is_none());
    }
}
