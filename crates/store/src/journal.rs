//! The journal of a job: one line of JSON for each thing done, appended before or after the deed so that a later
//! process knows where to go on. One process writes (see [`crate::StateDir`]); a line torn by the death of
//! the writer is as if it had never been written.

use crate::{JobDir, StoreError, files};
use harrier_base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

/// What was done. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Entry {
    /// The job was accepted.
    Admitted {
        /// Of the machine's start; another one means everything that ran is gone.
        boot_id: String,
        /// Who accepted it.
        runner_pid: u32,
        /// When; the job's time limit counts from here.
        started_at: Timestamp,
        /// What else the host wants to know again.
        #[serde(default)]
        host: Value,
    },
    /// A session was opened.
    Opened {
        /// For `Executor::reopen`.
        ticket: Value,
    },
    /// A stage is about to be started.
    StageStarting {
        /// Its key.
        key: String,
    },
    /// A stage ended.
    StageEnded {
        /// Its key.
        key: String,
        /// How.
        end: Value,
    },
    /// It is known how the job ended.
    Verdict {
        /// How.
        outcome: Value,
    },
    /// The server knows the final state.
    Reported,
    /// The server has the log up to here.
    Acked {
        /// Bytes.
        offset: u64,
    },
}

/// The journal of one job.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal of a job, reads what is in it and cuts off a torn last line.
    pub fn open(dir: &JobDir) -> Result<Self, StoreError> {
        let path = dir.path().join("journal.jsonl");
        let mut file = files::private()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let end = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if end < bytes.len() {
            file.set_len(end as u64).map_err(StoreError::io("mend", &path))?;
        }
        let mut entries = Vec::new();
        for (at, line) in bytes[..end].split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let entry = serde_json::from_slice(line)
                .map_err(|_| StoreError::Damaged { path: path.clone(), place: format!("line {}", at + 1) })?;
            entries.push(entry);
        }
        Ok(Self { path, file, end: end as u64, entries })
    }

    /// Adds one entry; when this returns it survives the death of this process.
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(entry)
            .map_err(|e| StoreError::NotJson { path: self.path.clone(), message: e.to_string() })?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A disk that is full takes half a line; without this the next entry would be glued to it.
            let _ = self.file.set_len(self.end);
            return Err(StoreError::io("write", &self.path)(error));
        }
        self.end += line.len() as u64;
        self.entries.push(entry.clone());
        Ok(())
    }

    /// Everything done so far, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Entry> {
        vec![
            Entry::Admitted {
                boot_id: "b".into(),
                runner_pid: 3,
                started_at: Timestamp(5),
                host: Value::Null,
            },
            Entry::Opened { ticket: serde_json::json!({"marker": "m"}) },
            Entry::StageStarting { key: "1-prepare_script".into() },
            Entry::StageEnded { key: "1-prepare_script".into(), end: serde_json::json!({"code": 0}) },
            Entry::Verdict { outcome: Value::Null },
            Entry::Acked { offset: 9 },
            Entry::Reported,
        ]
    }

    #[test]
    fn any_torn_end_leaves_the_whole_lines() {
        let state = tempfile::tempdir().expect("temp dir");
        let dir = JobDir::create(state.path(), "1-a").expect("made");
        let path = dir.path().join("journal.jsonl");
        let mut journal = Journal::open(&dir).expect("opened");
        for entry in sample() {
            journal.append(&entry).expect("appended");
        }
        assert_eq!(journal.entries(), sample());
        let whole = std::fs::read(&path).expect("read");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("written");
            let mut journal = Journal::open(&dir).expect("opened");
            let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(journal.entries(), &sample()[..lines], "cut at {cut}");
            journal.append(&Entry::Reported).expect("appended");
            let again = Journal::open(&dir).expect("opened");
            assert_eq!(again.entries().len(), lines + 1);
        }
    }

    #[test]
    fn damage_names_the_line() {
        let state = tempfile::tempdir().expect("temp dir");
        let dir = JobDir::create(state.path(), "1-a").expect("made");
        std::fs::write(dir.path().join("journal.jsonl"), "{\"did\":\"reported\"}\nhello\n").expect("written");
        let error = Journal::open(&dir).expect_err("damaged").to_string();
        assert!(error.contains("journal.jsonl is damaged at line 2"), "{error}");
    }
}
