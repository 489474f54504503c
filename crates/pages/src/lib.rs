//! The coordinator's web pages: view models in, HTML and SVG out. Called by the coordinator's web handlers alone.
//!
//! Everything here is pure: no clock (times come with the models, `now` too), no requests, no files but the style sheet and
//! the script, which are part of the program. A job's log, names and artifacts are somebody else's input: they are shown,
//! they never act.

mod account;
mod artifacts;
mod assets;
mod badge;
mod chart;
mod colours;
mod environments;
mod form;
mod frame;
mod graph;
mod job;
mod log;
mod merge_requests;
mod mirror;
mod pager;
mod pipelines;
mod projects;
mod runners;
mod settings;
mod status;
mod test_report;
mod texts;
mod time;

pub use account::{
    LoginPage, ProfilePage, SetPasswordPage, TokenRow, login_page, profile_page, set_password_page,
};
pub use artifacts::{ArtifactEntry, ArtifactsPage, artifacts_page};
pub use assets::{Asset, asset};
pub use badge::{coverage_badge, pipeline_badge};
pub use chart::{ChartsPage, Day, PipelinePoint, charts_page};
pub use environments::{
    DeploymentRow, EnvironmentLook, EnvironmentPage, EnvironmentRow, EnvironmentsPage, environment_page,
    environments_page,
};
pub use frame::{Flash, Page, ProjectPlace, Viewer, error_page};
pub use graph::{GraphJob, GraphOrder, graph};
pub use job::{JobPage, JobPermissions, Why, job_page, log_lines};
pub use log::{Line, Scanner, Section};
pub use merge_requests::{
    MergeRequestLook, MergeRequestPage, MergeRequestRow, MergeRequestsPage, merge_request_page,
    merge_requests_page,
};
pub use mirror::MirrorRow;
pub use pager::Beside;
pub use pipelines::{
    DownstreamRow, JobCell, NewPipelinePage, PipelinePage, PipelineRow, PipelinesPage, StageColumn,
    new_pipeline_page, pipeline_page, pipelines_page,
};
pub use projects::{ProjectPage, ProjectRow, project_page, projects_page};
pub use runners::{RunnerJob, RunnerRow, RunnersPage, runners_page};
pub use settings::{
    MemberRow, ScheduleRow, SettingsPage, TriggerRow, UserRow, VariableRow, settings_page, users_page,
};
pub use test_report::{TestCase, TestReportPage, TestSuite, TestVerdict, test_report_page};
pub use texts::Language;
pub use time::duration as duration_text;
