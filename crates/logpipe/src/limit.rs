//! The end of the chain: size limit, checksum and length of the log (`runner-api.md` §15.2). Called by `pipe.rs` alone.

/// Counts what goes out, and stops it.
pub(crate) struct Limit {
    limit: u64,
    length: u64,
    crc: crc32fast::Hasher,
    reached: bool,
}

impl Limit {
    /// `limit` in bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, length: 0, crc: crc32fast::Hasher::new(), reached: false }
    }

    /// Accounts for `out[from..]`, which must be valid UTF-8 and is new. When it reaches the limit it is cut at a
    /// character and the notice is put behind it; from then on nothing stays.
    pub fn seal(&mut self, out: &mut Vec<u8>, from: usize) {
        if self.reached {
            out.truncate(from);
            return;
        }
        let room = usize::try_from(self.limit - self.length).unwrap_or(usize::MAX);
        if out.len() - from >= room {
            let mut cut = from + room;
            while cut > from && out.get(cut).is_some_and(|byte| byte & 0xC0 == 0x80) {
                cut -= 1;
            }
            out.truncate(cut);
            out.extend_from_slice(
                format!(
                    "\n\x1b[33;1mJob's log exceeded limit of {} bytes.\n\
                     Job execution will continue but no more output will be collected.\x1b[0;m\n",
                    self.limit
                )
                .as_bytes(),
            );
            self.reached = true;
        }
        self.length += (out.len() - from) as u64;
        self.crc.update(&out[from..]);
    }

    pub fn crc32(&self) -> u32 {
        self.crc.clone().finalize()
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn reached(&self) -> bool {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &str = "\n\x1b[33;1mJob's log exceeded limit of 5 bytes.\nJob execution will continue but no more output \
                          will be collected.\x1b[0;m\n";

    fn run(writes: &[&str]) -> String {
        let mut limit = Limit::new(5);
        let mut out = Vec::new();
        for write in writes {
            let from = out.len();
            out.extend_from_slice(write.as_bytes());
            limit.seal(&mut out, from);
        }
        assert_eq!(limit.length(), out.len() as u64);
        assert_eq!(limit.crc32(), crc32fast::hash(&out));
        String::from_utf8(out).expect("cut at a character")
    }

    #[test]
    fn runner_api_15_2_limit() {
        for (writes, kept) in [
            (&["1234"][..], "1234"),
            (&["12345"], "12345!"),
            (&["123", "456"], "12345!"),
            (&["123456", "more"], "12345!"),
            (&["123", "€uro"], "123!"),
            (&["12€", "x"], "12€!"),
        ] {
            assert_eq!(run(writes), kept.replace('!', NOTICE), "{writes:?}");
        }
    }
}
