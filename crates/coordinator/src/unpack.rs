//! Opens what runners pack: reports as gzip members one after the other, or plain. Called when a report comes in; a limit holds
//! against what unpacks without end.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The bytes of a report, at most `limit`.
pub fn report(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut head = [0_u8; 2];
    let packed = File::open(path)?.read(&mut head)? == 2 && head == [0x1f, 0x8b];
    let file = BufReader::new(File::open(path)?);
    let mut plain = Vec::new();
    if packed {
        flate2::bufread::MultiGzDecoder::new(file).take(limit).read_to_end(&mut plain)?;
    } else {
        file.take(limit).read_to_end(&mut plain)?;
    }
    Ok(plain)
}
