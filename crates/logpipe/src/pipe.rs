//! [`LogPipe`]: frames of raw output in, the bytes of the log out (`runner-api.md` §15.1).

use crate::limit::Limit;
use crate::masker::Masker;
use crate::patterns::Patterns;
use crate::timestamps::Stamper;
use crate::token_prefixes::TokenPrefixes;
use crate::url_sanitiser::UrlSanitiser;
use crate::utf8_repair::Utf8Repair;
use crate::{Frame, FrameKind};
use harrier_base::{Secret, Timestamp};

/// How a log is made.
#[derive(Clone)]
pub struct Settings {
    /// Values to hide; empty ones are passed over.
    pub masks: Vec<Secret>,
    /// Prefixes after which a token is hidden.
    pub token_prefixes: Vec<String>,
    /// Each line gets a time stamp (`runner-api.md` §15.3).
    pub timestamps: bool,
    /// Bytes of log kept.
    pub limit: u64,
}

/// Makes the log of one job. What comes out depends on the frames alone: not on the clock, nor on how long it was
/// silent, nor on how the frames were handed in.
pub struct LogPipe {
    secrets: Patterns,
    prefixes: Patterns,
    timestamps: bool,
    /// In order of first appearance.
    streams: Vec<((FrameKind, u8), Stream)>,
    limit: Limit,
    scratch: Scratch,
    last_time: Timestamp,
}

/// The filters of one stream: standard output, standard error and the runner's messages are masked each by itself.
struct Stream {
    masker: Masker,
    urls: UrlSanitiser,
    tokens: TokenPrefixes,
    repair: Utf8Repair,
    stamper: Stamper,
}

#[derive(Default)]
struct Scratch {
    masked: Vec<u8>,
    sanitised: Vec<u8>,
    hidden: Vec<u8>,
    repaired: Vec<u8>,
}

impl LogPipe {
    /// An empty log.
    pub fn new(settings: &Settings) -> Self {
        Self {
            secrets: Patterns::new(settings.masks.iter().map(|mask| mask.expose().as_bytes())),
            prefixes: Patterns::new(settings.token_prefixes.iter().map(String::as_bytes)),
            timestamps: settings.timestamps,
            streams: Vec::new(),
            limit: Limit::new(settings.limit),
            scratch: Scratch::default(),
            last_time: Timestamp(0),
        }
    }

    /// Takes one frame and appends to `out` what can go into the log. Held back are: what may still become a secret, an
    /// unfinished character and, with time stamps, an unfinished line. A [`FrameKind::Boundary`] lets all of it go.
    pub fn frame(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.last_time = frame.time;
        if self.limit.reached() {
            return;
        }
        if frame.kind == FrameKind::Boundary {
            self.finish(out);
            return;
        }
        let from = out.len();
        let key = (frame.kind, frame.stream);
        let at = self.streams.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.streams.push((key, Stream::new(key)));
            self.streams.len() - 1
        });
        let stream = &mut self.streams[at].1;
        let filters = Filters {
            secrets: &self.secrets,
            prefixes: &self.prefixes,
            timestamps: self.timestamps,
            time: frame.time,
            last: false,
        };
        stream.feed(&filters, &frame.bytes, &mut self.scratch, out);
        self.limit.seal(out, from);
    }

    /// The log ends here: appends everything held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.limit.reached() {
            return;
        }
        let from = out.len();
        let filters = Filters {
            secrets: &self.secrets,
            prefixes: &self.prefixes,
            timestamps: self.timestamps,
            time: self.last_time,
            last: true,
        };
        for (_, stream) in &mut self.streams {
            stream.feed(&filters, b"", &mut self.scratch, out);
        }
        self.limit.seal(out, from);
    }

    /// Checksum of all bytes given out (`runner-api.md` §5.1).
    pub fn crc32(&self) -> u32 {
        self.limit.crc32()
    }

    /// Number of bytes given out.
    pub fn len(&self) -> u64 {
        self.limit.length()
    }

    /// Whether nothing was given out yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the limit is reached: whatever comes is dropped, so the job's output need not be kept any more.
    pub fn limit_reached(&self) -> bool {
        self.limit.reached()
    }
}

struct Filters<'a> {
    secrets: &'a Patterns,
    prefixes: &'a Patterns,
    timestamps: bool,
    time: Timestamp,
    last: bool,
}

impl Stream {
    fn new((kind, stream): (FrameKind, u8)) -> Self {
        Self {
            masker: Masker::default(),
            urls: UrlSanitiser::default(),
            tokens: TokenPrefixes::default(),
            repair: Utf8Repair::default(),
            stamper: Stamper::new(stream, kind == FrameKind::Stderr),
        }
    }

    fn feed(&mut self, cx: &Filters<'_>, bytes: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) {
        let text = self.masker.feed(cx.secrets, bytes, cx.last, &mut scratch.masked);
        let text = self.urls.feed(text, cx.last, &mut scratch.sanitised);
        let text = self.tokens.feed(cx.prefixes, text, cx.last, &mut scratch.hidden);
        let text = self.repair.feed(text, cx.last, &mut scratch.repaired);
        if !cx.timestamps {
            out.extend_from_slice(text);
            return;
        }
        self.stamper.feed(text, cx.time, out);
        if cx.last {
            self.stamper.flush(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(timestamps: bool) -> Settings {
        Settings {
            masks: vec![Secret::new("s3cr3t"), Secret::new("a\nb"), Secret::new("")],
            token_prefixes: vec!["glpat-".into(), "glrt-".into()],
            timestamps,
            limit: 1 << 20,
        }
    }

    fn frame(kind: FrameKind, text: &str) -> Frame {
        let stream = u8::from(kind != FrameKind::Runner);
        Frame { kind, stream, time: Timestamp(1_772_356_527_042_318), bytes: text.as_bytes().to_vec() }
    }

    fn run(settings: &Settings, frames: &[Frame]) -> String {
        let mut pipe = LogPipe::new(settings);
        let mut out = Vec::new();
        for frame in frames {
            pipe.frame(frame, &mut out);
        }
        pipe.finish(&mut out);
        assert_eq!(pipe.len(), out.len() as u64);
        assert_eq!(pipe.crc32(), crc32fast::hash(&out));
        String::from_utf8(out).expect("the log is valid UTF-8")
    }

    #[test]
    fn runner_api_15_1_order() {
        use FrameKind::*;
        let frames = [
            frame(Runner, "token glpat-s3cr3t\n"),
            frame(Stdout, "x?private_token=s3cr3t&a=glrt-1\n"),
            frame(Stderr, "s3c"),
            frame(Stdout, "r3t\n"),
            frame(Stderr, "r3t\n"),
        ];
        assert_eq!(
            run(&settings(false), &frames),
            "token glpat-[MASKED]\nx?private_token=[MASKED]&a=glrt-[MASKED]\nr3t\n[MASKED]\n"
        );
        let stamped = run(&settings(true), &frames).replace("2026-03-01T09:15:27.042318Z ", "");
        assert_eq!(
            stamped,
            "00O token glpat-[MASKED]\n01O x?private_token=[MASKED]&a=glrt-[MASKED]\n01O r3t\n01E [MASKED]\n"
        );
    }

    #[test]
    fn a_boundary_lets_go_of_everything() {
        use FrameKind::*;
        let frames = [
            frame(Stdout, "s3c"),
            frame(Stderr, "?rss_tok"),
            frame(Boundary, ""),
            frame(Runner, "end\n"),
            frame(Stdout, "r3t\n"),
        ];
        assert_eq!(run(&settings(false), &frames), "s3c?rss_tokend\nr3t\n");
        let stamped = run(&settings(true), &frames).replace("2026-03-01T09:15:27.042318Z ", "");
        assert_eq!(stamped, "01O s3c\n01E ?rss_tok\n00O end\n01O+r3t\n");
    }

    #[test]
    fn runner_api_15_2_everything_behind_the_limit_is_dropped() {
        let mut settings = settings(false);
        settings.limit = 8;
        let frames = [frame(FrameKind::Stdout, "12345678"), frame(FrameKind::Runner, "Job succeeded\n")];
        let got = run(&settings, &frames);
        assert!(got.starts_with("12345678\n\x1b[33;1mJob's log exceeded limit of 8 bytes.\n"), "{got}");
        assert!(!got.contains("succeeded"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn any_split_of_a_stream_gives_the_same_log(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("s3cr3t"), Just("s3c"), Just("a\n"), Just("b"), Just("glpat-"), Just("x?rss_token="),
                    Just("\n"), Just("é€"), Just(" "), Just("&"),
                ],
                0..30,
            ),
            size in 1usize..12,
            timestamps: bool,
        ) {
            let text = parts.concat();
            let pieces: Vec<Frame> = text
                .as_bytes()
                .chunks(size)
                .map(|bytes| Frame { bytes: bytes.to_vec(), ..frame(FrameKind::Stdout, "") })
                .collect();
            let settings = settings(timestamps);
            let whole = run(&settings, &[frame(FrameKind::Stdout, &text)]);
            prop_assert_eq!(run(&settings, &pieces), whole.clone());
            prop_assert!(!whole.contains("s3cr3t"));
        }
    }
}
