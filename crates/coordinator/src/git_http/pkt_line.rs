//! The lines git speaks in: four hex digits of length, then the bytes. Pure; called by `exchange.rs`.

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// `0000`.
    Flush,
    /// `0001` or `0002`.
    Delimiter,
    /// Anything else, without its length.
    Data(&'a [u8]),
}

/// What is at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A packet and how many bytes it takes.
    Packet(Packet<'a>, usize),
    /// More bytes are needed.
    More,
    /// These bytes are no packet.
    Broken,
}

/// Looks at the beginning of `bytes`.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    let Some(head) = bytes.get(..4) else { return Next::More };
    let digits = head.iter().all(u8::is_ascii_hexdigit).then(|| std::str::from_utf8(head).ok()).flatten();
    let Some(long) = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else {
        return Next::Broken;
    };
    match long {
        0 => Next::Packet(Packet::Flush, 4),
        1 | 2 => Next::Packet(Packet::Delimiter, 4),
        3 => Next::Broken,
        long => match bytes.get(4..long) {
            Some(data) => Next::Packet(Packet::Data(data), long),
            None => Next::More,
        },
    }
}

/// `data` as a packet. A packet holds 65,516 bytes; our own are never that long.
pub(crate) fn data(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:04x}", data.len() + 4).into_bytes();
    out.extend_from_slice(data);
    out
}

/// A message for the person who pushes, as packets of band 2; git shows each line behind `remote: `.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in text.lines() {
        let line: String = line.chars().filter(|c| !c.is_control()).take(900).collect();
        out.extend(data(format!("\u{2}{line}\n").as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read() {
        for (bytes, expected) in [
            (&b""[..], Next::More),
            (b"00", Next::More),
            (b"0000rest", Next::Packet(Packet::Flush, 4)),
            (b"0001", Next::Packet(Packet::Delimiter, 4)),
            (b"0003", Next::Broken),
            (b"0004", Next::Packet(Packet::Data(b""), 4)),
            (b"0009hello!", Next::Packet(Packet::Data(b"hello"), 9)),
            (b"0009hel", Next::More),
            (b"+123", Next::Broken),
            (b"PACK", Next::Broken),
        ] {
            assert_eq!(next(bytes), expected, "{bytes:?}");
        }
        assert_eq!(data(b"hello"), b"0009hello");
        assert_eq!(message("a\x1b[31m\nb"), b"000b\x02a[31m\n0007\x02b\n".to_vec());
    }
}
