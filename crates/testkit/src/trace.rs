//! The log of a job on the server's side (`runner-api.md` §6).
//!
//! Called by `server`. It must never change a job's state, but for a log that grows too large.

use crate::faults::Fault;
use crate::jobs::{Job, JobState, check_claims, late, refuse};
use crate::rules;
use crate::server::{Answer, Call, Shared};
use std::sync::Arc;

/// `PATCH /jobs/:id/trace`
pub(crate) fn append(shared: &Arc<Shared>, call: &Call) -> Answer {
    let mut inner = shared.lock();
    let mut slips = Vec::new();
    let answer = match inner.jobs.get_mut(&call.job) {
        Some(job) => append_to(shared, job, call, &mut slips),
        None => Answer::message(403, "403 Forbidden"),
    };
    for slip in slips {
        inner.slip(call, slip);
    }
    answer
}

fn append_to(shared: &Arc<Shared>, job: &mut Job, call: &Call, slips: &mut Vec<String>) -> Answer {
    late(job, call, slips);
    if let Some(refusal) = refuse(job, call) {
        return refusal;
    }
    if !job.update_seen {
        slips.push("log bytes before the acceptance (§3.8)".into());
    }
    let debug =
        job.spec.variables.iter().any(|var| {
            matches!(var.key.as_str(), "CI_DEBUG_TRACE" | "CI_DEBUG_SERVICES") && var.value == "true"
        });
    if call.query().iter().any(|(key, value)| key == "debug_trace" && *value != debug.to_string()) {
        slips.push(format!("debug_trace is not {debug} (§6.1)"));
    }
    let Some((start, _)) = rules::range(call) else {
        return Answer::message(400, "400 Missing header Content-Range");
    };
    check_start(shared, job, start, call, slips);
    let have = job.log.len() as u64;
    if call.fault == Some(Fault::RangeLie) {
        let lie = call.detail % (have + 1);
        job.resync = true;
        return resync(job, lie);
    }
    if start != have {
        if call.answer_arrives() {
            job.acknowledged = have;
            job.resync = false;
        }
        return resync(job, have);
    }
    if have + call.body.len() as u64 > shared.options.trace_limit {
        job.failure_reason = Some("trace_size_exceeded".into());
        job.finish(JobState::Failed);
        job.told_to_abort(call);
        return Answer::message(403, "403 Forbidden - Trace size exceeded").with("job-status", "failed");
    }
    job.log.extend_from_slice(&call.body);
    job.chunks += 1;
    check_claims(job, slips);
    let have = job.log.len() as u64;
    if call.answer_arrives() {
        job.acknowledged = have;
        job.resync = false;
    }
    let answer = Answer::plain(202).with("range", format!("0-{have}")).with("job-status", job.state.wire());
    match shared.options.update_interval {
        Some(seconds) => answer.with("x-gitlab-trace-update-interval", seconds.to_string()),
        None => answer,
    }
}

fn resync(job: &Job, size: u64) -> Answer {
    Answer::plain(416).with("range", format!("0-{size}")).with("job-status", job.state.wire())
}

/// Never skipping, never sending again what the runner knows to be stored, never other bytes than before (§6).
fn check_start(shared: &Arc<Shared>, job: &Job, start: u64, call: &Call, slips: &mut Vec<String>) {
    let have = job.log.len() as u64;
    if start > have && !job.resync {
        slips.push(format!("skips from {have} to {start} (§6.2)"));
    }
    if start < job.acknowledged && !job.resync && !shared.options.runner_restarts {
        slips.push(format!("sends again from {start}, {} bytes are acknowledged (§6.2)", job.acknowledged));
    }
    if start < have {
        let stored = &job.log[start as usize..];
        let common = stored.len().min(call.body.len());
        if stored[..common] != call.body[..common] {
            slips.push(format!("other bytes than before at {start} (§6.1)"));
        }
    }
}
