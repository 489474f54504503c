//! Server-sent events: the page hears that something changed and fetches itself again, its log hears that it is longer.
//! Nothing of the change itself is sent.

use super::visit::{Shown, Visit};
use crate::notifier::News;
use crate::traces::Watching;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, iter, unfold};
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
    let news = visit.app.notifier.follow();
    let late = visit.asked("seen") != visit.app.notifier.count().to_string();
    let events = events(late, news, wanted, watching).take_until(Box::pin(end));
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

/// What comes at once becomes one event. When something has happened since the page, as it may before the connection is made or
/// while one was broken, the first event comes at once.
fn events(
    late: bool,
    news: Receiver<News>,
    wanted: Wanted,
    watching: Option<Watching>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    iter(late.then(|| Ok(event(Word::Changed)))).chain(unfold(
        (news, wanted, watching),
        |(mut news, wanted, watching)| async move {
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
            let word = if changed { Word::Changed } else { Word::Log };
            Some((Ok(event(word)), (news, wanted, watching)))
        },
    ))
}

fn event(word: Word) -> Event {
    // A change of the job often ends its log: the page looks at both.
    let name = match word {
        Word::Changed => "changed",
        Word::Log => "log",
    };
    Event::default().event(name).data("1")
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

    #[tokio::test]
    async fn a_late_page_hears_at_once_that_something_has_changed() {
        let wanted = Wanted { job: Some(9), ..Wanted::default() };
        let (changed, log) = ("event: changed\ndata: 1\n\n", "event: log\ndata: 1\n\n");
        for (late, heard) in [(true, vec![changed, log]), (false, vec![log])] {
            let (send, news) = tokio::sync::broadcast::channel(8);
            let sent = Sse::new(events(late, news, wanted.clone(), None)).into_response();
            send.send(News::Trace { job: 9, size: 1 }).expect("it is followed");
            let mut sent = sent.into_body().into_data_stream();
            for heard in heard {
                let event = sent.next().await.expect("it goes on").expect("it is made at once");
                assert_eq!(event, heard);
            }
        }
    }
}
