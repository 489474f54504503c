//! Characters into the scanner's buffer, refusing those that YAML does not allow.

use crate::scanner::Scanner;
use crate::{Error, Result};

/// How many characters are taken at a time.
const CHUNK: usize = 4096;

pub(crate) fn fill(scanner: &mut Scanner<'_>, length: usize) -> Result<()> {
    while scanner.buffer.len() < length && !scanner.eof {
        for _ in 0..CHUNK {
            let Some(ch) = scanner.input.next() else {
                scanner.eof = true;
                break;
            };
            let allowed = matches!(ch, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
                | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
                && ch != '\u{feff}';
            if !allowed {
                return Err(Error::reader("control characters are not allowed", scanner.offset, ch));
            }
            scanner.offset += ch.len_utf8();
            scanner.buffer.push_back(ch);
        }
    }
    Ok(())
}
