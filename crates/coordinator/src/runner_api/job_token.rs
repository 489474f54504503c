//! Who may speak for a job: its token, while it executes (`runner-api.md` §1.3). Called by updates, logs and artifacts.

use crate::answer::{Answer, Refusal};
use crate::app::App;
use axum::http::HeaderMap;
use harrier_base::Secret;
use harrier_database::JobView;

/// The token of a request: the parameter first, then the header.
pub fn token(headers: &HeaderMap, parameter: Option<&Secret>) -> Secret {
    match parameter {
        Some(token) if !token.is_empty() => token.clone(),
        Some(_) | None => {
            Secret::new(headers.get("job-token").and_then(|v| v.to_str().ok()).unwrap_or_default())
        }
    }
}

/// The job that a token was made for, if it is `id` and executes. Anything else is 403, with the job's status where the token
/// was once good for it.
pub async fn job_for(app: &App, id: i64, token: &Secret) -> Answer<JobView> {
    if token.is_empty() {
        return Err(Refusal::forbidden(""));
    }
    let Some(job) = app.store.job_of_token(token).await? else { return Err(Refusal::forbidden("")) };
    if job.id != id {
        return Err(Refusal::forbidden(""));
    }
    if job.erased_at.is_some() {
        return Err(Refusal::forbidden("Job has been erased!"));
    }
    if !job.executes() {
        return Err(
            Refusal::forbidden("Job is not processing on runner").with("job-status", job.status.word())
        );
    }
    Ok(job)
}
