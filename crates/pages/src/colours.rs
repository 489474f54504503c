//! The 256 colours of a terminal on the dark ground of the log, none of them below the contrast of WCAG AA (4.5).
//! Called by the log scanner and by the style sheet. Colours are class names (`f12`, `b200`), never inline styles: the
//! pages' content policy forbids those.

/// The lightest ground of the log: a row under the pointer, or found by a search.
const GROUND: [u8; 3] = [0x26, 0x2c, 0x36];

/// What text must have (WCAG AA).
const ENOUGH: f64 = 4.5;

/// The sixteen named colours, as terminals show them.
const NAMED: [[u8; 3]; 16] = [
    [0x6e, 0x76, 0x81],
    [0xff, 0x7b, 0x72],
    [0x56, 0xd3, 0x64],
    [0xe3, 0xb3, 0x41],
    [0x79, 0xb8, 0xff],
    [0xd2, 0xa8, 0xff],
    [0x56, 0xd4, 0xdd],
    [0xd0, 0xd7, 0xde],
    [0x8b, 0x94, 0x9e],
    [0xff, 0xa1, 0x98],
    [0x7e, 0xe7, 0x87],
    [0xf2, 0xcc, 0x60],
    [0xa5, 0xd6, 0xff],
    [0xe2, 0xc5, 0xff],
    [0xb3, 0xf0, 0xff],
    [0xff, 0xff, 0xff],
];

/// Colour of an index as terminals define it.
pub(crate) fn colour(index: u8) -> [u8; 3] {
    match index {
        0..=15 => NAMED[usize::from(index)],
        16..=231 => {
            let cube = index - 16;
            let level = |part: u8| if part == 0 { 0 } else { 55 + 40 * part };
            [level(cube / 36), level(cube / 6 % 6), level(cube % 6)]
        }
        232..=255 => [8 + 10 * (index - 232); 3],
    }
}

/// The index that comes nearest to a colour of 24 bits; never one of the sixteen, which users expect to be theirs.
pub(crate) fn nearest(red: u8, green: u8, blue: u8) -> u8 {
    let part = |value: u8| match value {
        0..=47 => 0,
        48..=114 => 1,
        value => (value - 35) / 40,
    };
    let cube = 16 + 36 * part(red) + 6 * part(green) + part(blue);
    let grey = 232
        + (u16::from(red) + u16::from(green) + u16::from(blue)).saturating_sub(24).div_euclid(30).min(23)
            as u8;
    let away = |index: u8| -> u32 {
        let [r, g, b] = colour(index);
        [(r, red), (g, green), (b, blue)].iter().map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
    };
    if away(grey) < away(cube) { grey } else { cube }
}

fn luminance([red, green, blue]: [u8; 3]) -> f64 {
    let part = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue)
}

/// Contrast of two colours, 1 to 21 (WCAG 2).
pub(crate) fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    if one > other { one / other } else { other / one }
}

/// The colour as text on the ground of the log: lightened until it can be read.
pub(crate) fn readable(index: u8) -> [u8; 3] {
    let mut found = colour(index);
    while contrast(found, GROUND) < ENOUGH {
        found = found.map(|part| part.saturating_add(12));
    }
    found
}

/// Whether black is the better text on a coloured ground.
pub(crate) fn wants_black(ground: u8) -> bool {
    contrast([0, 0, 0], colour(ground)) > contrast([255, 255, 255], colour(ground))
}

/// Whether the program's own choice of text and ground can be read.
pub(crate) fn pair_is_readable(text: u8, ground: u8) -> bool {
    contrast(readable(text), colour(ground)) >= ENOUGH
}

/// The rules of all 256 colours.
pub(crate) fn style_sheet() -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(16 << 10);
    for index in 0..=255 {
        let [r, g, b] = readable(index);
        let _ = write!(out, ".f{index}{{color:#{r:02x}{g:02x}{b:02x}}}");
        let [r, g, b] = colour(index);
        let _ = writeln!(out, ".b{index}{{background:#{r:02x}{g:02x}{b:02x}}}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_can_be_read_on_the_log() {
        for index in 0..=255 {
            let found = contrast(readable(index), GROUND);
            assert!(found >= ENOUGH, "colour {index}: {found}");
            let text = if wants_black(index) { [0; 3] } else { [255; 3] };
            assert!(contrast(text, colour(index)) >= ENOUGH, "text on {index}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 0.01);
        assert!((contrast([0x76; 3], [255; 3]) - 4.54).abs() < 0.01);
    }

    #[test]
    fn colours_of_24_bits_find_their_neighbour() {
        assert_eq!(nearest(0, 0, 0), 16);
        assert_eq!(nearest(255, 255, 255), 231);
        assert_eq!(nearest(255, 0, 0), 196);
        assert_eq!(nearest(128, 128, 128), 244);
        for red in (0..=255).step_by(5) {
            for green in (0..=255).step_by(5) {
                for blue in (0..=255).step_by(15) {
                    assert!(nearest(red, green, blue) >= 16);
                }
            }
        }
    }
}
