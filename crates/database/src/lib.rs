//! All that the coordinator keeps in tables, on SQLite or PostgreSQL, behind one interface shaped by transitions. [`Store`] is the
//! way in; every operation is one transaction, so that a process that is killed at any moment leaves a state that was whole.
//!
//! Called by the coordinator and by `harrier admin`. It has no clock: times are given, in milliseconds since 1970 UTC. What
//! runs when is decided by `harrier-pipeline`'s scheduler; this crate writes down what it says.

mod accounts;
mod artifacts;
mod bridges;
mod change;
mod claim;
mod commit_statuses;
mod deployments;
mod drive;
mod due;
mod environments;
mod error;
mod jobs;
mod matching;
mod merge_requests;
mod migrate;
mod mirrors;
mod namespaces;
mod objects;
mod overview;
mod pipelines;
mod postgresql;
mod postgresql_tls;
mod projects;
mod protection;
mod runners;
mod schedules;
mod seal;
mod settings;
mod sqlite;
mod store;
mod token;
mod tx;
mod variables;
mod views;
mod worker;

pub use accounts::{NewToken, NewUser, SessionView, TokenView, UserEdit, UserView};
pub use artifacts::{ArtifactView, Put, TestCase, TestReport};
pub use bridges::BridgeView;
pub use change::Change;
pub use claim::{Ask, Claim, Source};
pub use commit_statuses::CommitStatus;
pub use deployments::{DeployingJob, DeploymentFilter, DeploymentOrder, DeploymentView};
pub use due::Patience;
pub use environments::{EnvironmentEdit, EnvironmentFilter, EnvironmentState, EnvironmentView};
pub use error::{DatabaseError, Result};
pub use jobs::{JobFilter, TraceEnd};
pub use matching::{Offer, Reach, Refusal, Wants, WhyPending, missing_feature, refusal, why_pending};
pub use merge_requests::{
    MergeRequestEdit, MergeRequestFilter, MergeRequestState, MergeRequestView, NewMergeRequest, says_draft,
};
pub use mirrors::{Fetched, Login, MirrorEdit, MirrorView, NewMirror};
pub use namespaces::NamespaceView;
pub use objects::{LOG, ObjectView};
pub use overview::{DatabaseTimes, Overview};
pub use pipelines::{Asks, NewPipeline, PipelineFilter, PipelineOrder};
pub use projects::{AccessLevel, NewProject, ProjectEdit, ProjectSettings, ProjectView, wildcard};
pub use protection::Protection;
pub use runners::{ManagerView, NewRunner, Registers, RunnerEdit, RunnerView};
pub use schedules::{NewSchedule, ScheduleEdit, ScheduleView};
pub use seal::Sealer;
pub use sqlite::copy_sqlite;
pub use store::{Place, Store};
pub use token::{TokenKind, token_hash};
pub use variables::{CiVariable, VariableOwner};
pub use views::{JobView, Message, Page, PageAt, PipelineView};
