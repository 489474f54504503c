//! An object read as a file is: from any place, by a thread that may wait. Parts are fetched as they are asked for, longer ones while
//! the reader goes straight on. Called for archives that are looked into and for the ends of logs.

use super::bucket::{Bucket, BucketError};
use bytes::Bytes;
use std::io::{self, Read, Seek, SeekFrom};
use tokio::runtime::Handle;

/// Bytes of the first part.
const FIRST: u64 = 64 << 10;
/// Most bytes of a part.
const MOST: u64 = 8 << 20;

/// An object, at a place in it.
pub struct ObjectReader {
    bucket: Bucket,
    key: String,
    size: u64,
    at: u64,
    part: Bytes,
    part_start: u64,
    next_long: u64,
    runtime: Handle,
}

impl ObjectReader {
    /// At its beginning. Only for threads that drive no tasks.
    pub fn new(bucket: Bucket, key: String, size: u64, runtime: Handle) -> Self {
        Self { bucket, key, size, at: 0, part: Bytes::new(), part_start: 0, next_long: FIRST, runtime }
    }

    fn fetch(&mut self) -> Result<(), BucketError> {
        let follows = self.at == self.part_start + self.part.len() as u64 && !self.part.is_empty();
        self.next_long = if follows { (self.next_long * 2).min(MOST) } else { FIRST };
        // What reads near the end reads about there again: archives keep their lists there.
        let start = self.at.min(self.size.saturating_sub(FIRST));
        let long = self.next_long.max(self.at - start + 1).min(self.size - start);
        self.part = self.runtime.block_on(self.bucket.part(&self.key, start, long))?;
        self.part_start = start;
        Ok(())
    }
}

impl Read for ObjectReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || into.is_empty() {
            return Ok(0);
        }
        let inside = self.part_start..self.part_start + self.part.len() as u64;
        if !inside.contains(&self.at) {
            self.fetch().map_err(io::Error::other)?;
        }
        let from = usize::try_from(self.at - self.part_start).unwrap_or(usize::MAX);
        let there = self.part.get(from..).unwrap_or_default();
        if there.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let long = there.len().min(into.len());
        into[..long].copy_from_slice(&there[..long]);
        self.at += long as u64;
        Ok(long)
    }
}

impl Seek for ObjectReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
