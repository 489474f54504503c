//! What to do with a job that an earlier process of this runner has left. Pure: the journal in, a decision out.

use harrier_store::Entry;

/// What is left of a job, and so what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The server knows its result: only the directory is still there.
    Settled,
    /// Nothing of it was begun: it is accepted and run like a new one.
    Untouched,
    /// It may still run, or has its result: go on. The server has the log up to `sent`.
    Goes { sent: u64 },
    /// It ran when the machine was started anew: nothing of it runs any more.
    Lost { sent: u64 },
}

impl Left {
    /// `boot_id` is of now.
    pub(crate) fn of(entries: &[Entry], boot_id: &str) -> Self {
        let mut admitted = None;
        let mut sent = 0;
        let mut decided = false;
        for entry in entries {
            match entry {
                Entry::Admitted { boot_id, .. } => admitted = Some(boot_id.as_str()),
                Entry::Acked { offset } => sent = *offset,
                Entry::Verdict { .. } => decided = true,
                Entry::Reported => return Self::Settled,
                Entry::Opened { .. } | Entry::StageStarting { .. } | Entry::StageEnded { .. } => {}
            }
        }
        match admitted {
            None => Self::Untouched,
            Some(_) if decided => Self::Goes { sent },
            Some(then) if then == boot_id => Self::Goes { sent },
            Some(_) => Self::Lost { sent },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_base::Timestamp;
    use serde_json::Value;

    #[test]
    fn every_moment_of_death_has_its_way_on() {
        let admitted = |boot: &str| Entry::Admitted {
            boot_id: boot.into(),
            runner_pid: 1,
            started_at: Timestamp(0),
            host: Value::Null,
        };
        let acked = Entry::Acked { offset: 7 };
        let verdict = Entry::Verdict { outcome: Value::Null };
        for (entries, left) in [
            (vec![], Left::Untouched),
            (vec![admitted("now")], Left::Goes { sent: 0 }),
            (vec![admitted("now"), acked.clone()], Left::Goes { sent: 7 }),
            (vec![admitted("old"), acked.clone()], Left::Lost { sent: 7 }),
            (vec![admitted("old"), acked.clone(), verdict.clone()], Left::Goes { sent: 7 }),
            (vec![admitted("old"), verdict, acked, Entry::Reported], Left::Settled),
        ] {
            assert_eq!(Left::of(&entries, "now"), left, "{entries:?}");
        }
    }
}
