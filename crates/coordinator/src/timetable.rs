//! Starts the pipelines of schedules when their time comes. Runs beside the server as long as it does; called by
//! [`App::background`].

use crate::app::App;
use crate::cron::Cron;
use crate::start::{StartRequest, start};
use harrier_database::{DatabaseError, ScheduleView};

impl App {
    /// Keeps the timetable.
    pub(crate) async fn keep_timetable(&self) {
        let mut changes = self.store.changes();
        loop {
            let now = self.now();
            let next = match self.store.due_schedules(now).await {
                Ok((due, next)) => {
                    for schedule in due {
                        self.run_schedule(schedule, now).await;
                    }
                    next.unwrap_or(i64::MAX)
                }
                Err(DatabaseError::Closed) => return,
                Err(error) => {
                    tracing::error!(error = %error, "the schedules could not be read; it is tried again");
                    now.saturating_add(5_000)
                }
            };
            if self.until(next, &mut changes).await.is_break() {
                return;
            }
        }
    }

    async fn run_schedule(&self, schedule: ScheduleView, now: i64) {
        let next = Cron::parse(&schedule.cron, &schedule.time_zone).ok().and_then(|cron| cron.after(now));
        match self.store.take_schedule(schedule.id, schedule.next_at, next).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(schedule = schedule.id, error = %error, "a schedule was not run");
            }
        }
        match self.start_schedule(&schedule).await {
            Ok(pipeline) => tracing::info!(schedule = schedule.id, pipeline, "a schedule has a pipeline"),
            Err(why) => tracing::warn!(schedule = schedule.id, why, "a schedule has no pipeline"),
        }
    }

    /// Starts the pipeline of a schedule with its owner's rights; says why there is none.
    pub async fn start_schedule(&self, schedule: &ScheduleView) -> Result<i64, String> {
        let text = |error: DatabaseError| error.to_string();
        let project = self.store.project(schedule.project).await.map_err(text)?;
        let owner = schedule.owner.ok_or("it has no owner; take it over")?;
        let user = self.store.user(owner).await.map_err(text)?;
        if user.blocked {
            return Err(format!("its owner {} is blocked; take it over", user.username));
        }
        let level = match user.admin {
            true => Some(harrier_database::AccessLevel::Owner),
            false => self.store.access(project.id, user.id).await.map_err(text)?,
        };
        let variables = self.store.schedule_variables(schedule.id).await.map_err(text)?;
        let request =
            StartRequest { git_ref: schedule.git_ref.clone(), variables, source: "schedule", user, level };
        let made = start(self, &project, request).await.map_err(|refusal| refusal.message.to_string())?;
        self.store.set_schedule_pipeline(schedule.id, made.id).await.map_err(text)?;
        Ok(made.id)
    }
}
