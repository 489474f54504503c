//! Server-sent events: the page hears that something changed and fetches itself again, its log hears that it is longer.
//! Nothing of the change itself is sent.

use super::visit::{Shown, Visit};
use crate::notifier::News;
use crate::traces::Watching;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, unfold};
use harrier_database::Change;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// What a page wants to hear.
#[derive(Clone, Debug, Default)]
struct Wanted {
    project: Option<i64>,
    pipeline: Option<i64>,
    job: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Changed,
    Log,
}

impl Wanted {
    fn word(&self, news: &News) -> Option<Word> {
        let fits = |wanted: Option<i64>, found: i64| wanted.is_none_or(|wanted| wanted == found);
        let fits = match news {
            News::Trace { job, .. } => return (self.job == Some(*job)).then_some(Word::Log),
            News::Change(
                Change::Job { project, pipeline, .. } | Change::Pipeline { project, pipeline, .. },
            ) => fits(self.project, *project) && fits(self.pipeline, *pipeline),
            News::Change(Change::Runner { .. }) => self.project.is_none(),
            News::Change(Change::Queued { .. } | Change::Bridge { .. } | Change::Due) => false,
        };
        fits.then_some(Word::Changed)
    }
}

/// For pages that are of no project.
pub(super) async fn everything(visit: Visit) -> Shown {
    Ok(stream(&visit, Wanted::default()))
}

/// For the pages of a project: all of it, a pipeline, a job.
pub(super) async fn project(visit: Visit) -> Shown {
    let project = visit.project()?.id;
    let job = match visit.asked("job").parse() {
        Ok(job) if visit.may_see_jobs() => {
            let found = visit.app.store.job(job).await?;
            (found.project == project).then_some(found.id)
        }
        Ok(_) | Err(_) => None,
    };
    let pipeline = visit.asked("pipeline").parse().ok();
    Ok(stream(&visit, Wanted { project: Some(project), pipeline, job }))
}

fn stream(visit: &Visit, wanted: Wanted) -> axum::response::Response {
    let mut stopping = visit.app.stopping.subscribe();
    let end = async move {
        // The sender lives as long as the server.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    // Somebody looks at the log for as long as the page is open.
    let watching = wanted.job.map(|job| visit.app.watch_trace(job));
    let events = events(visit.app.notifier.follow(), wanted, watching).take_until(Box::pin(end));
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// What comes at once becomes one event.
fn events(
    news: Receiver<News>,
    wanted: Wanted,
    watching: Option<Watching>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold((news, wanted, watching), |(mut news, wanted, watching)| async move {
        let word = loop {
            match news.recv().await {
                Ok(one) => match wanted.word(&one) {
                    Some(word) => break word,
                    None => continue,
                },
                // What was missed may have been anything.
                Err(RecvError::Lagged(_)) => break Word::Changed,
                Err(RecvError::Closed) => return None,
            }
        };
        let mut changed = word == Word::Changed;
        loop {
            match news.try_recv() {
                Ok(one) => changed |= wanted.word(&one) == Some(Word::Changed),
                Err(TryRecvError::Lagged(_)) => changed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        // A change of the job often ends its log: both are looked at.
        let name = if changed { "changed" } else { "log" };
        Some((Ok(Event::default().event(name).data("1")), (news, wanted, watching)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use harrier_pipeline::Status;

    #[test]
    fn a_page_hears_what_is_its_own() {
        let change = |project, pipeline| {
            News::Change(Change::Job { project, pipeline, job: 9, status: Status::Running })
        };
        let wanted = Wanted { project: Some(1), pipeline: Some(2), job: Some(9) };
        assert_eq!(wanted.word(&change(1, 2)), Some(Word::Changed));
        assert_eq!(wanted.word(&change(1, 3)), None);
        assert_eq!(wanted.word(&change(2, 2)), None);
        assert_eq!(wanted.word(&News::Trace { job: 9, size: 1 }), Some(Word::Log));
        assert_eq!(wanted.word(&News::Trace { job: 8, size: 1 }), None);
        assert_eq!(Wanted::default().word(&change(5, 5)), Some(Word::Changed));
        assert_eq!(
            Wanted { project: Some(1), ..Wanted::default() }
                .word(&News::Change(Change::Runner { runner: 1, offer: true })),
            None
        );
    }
}
