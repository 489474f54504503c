//! Every route of the API in one table: method, status, path, who may, with which scope, what for, parameters, handler. Tokens, roles
//! and forged requests are checked here, once, before a handler is reached; the OpenAPI description and the test of every route
//! with every role are made of it.

use super::call::{Call, Failure, Reply, keyset_headers, page_headers};
use super::{
    about, artifacts, deployments, environments, files, jobs, lint, members, merge_requests, mirror,
    namespaces, parameters, pipelines, projects, protected_refs, repository, runners, schedules, statuses,
    tokens, triggers, users, variables,
};
use crate::answer::Refusal;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::metrics::Class;
use crate::mirrors::webhook;
use crate::request_record::note_route;
use crate::web::table::same;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use harrier_base::Secret;
use harrier_database::{AccessLevel, ProjectView};
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Everyone; the handler looks at a token of its own.
    Anyone,
    /// A person, or a project's own token.
    Known,
    /// A person.
    User,
    /// Administrators.
    Admin,
    /// A job, by its token.
    Job,
    /// Who is at least that in the project. A public project makes everyone a guest.
    Level(AccessLevel),
    /// Who may fetch the project's repository: a guest, or a reporter where the project is private.
    Code,
}

/// What a token must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This scope.
    Scope(Scope),
    /// This scope, or a job's token.
    ScopeOrJob(Scope),
    /// This scope, or a webhook that shows the project's secret; the handler looks at that.
    ScopeOrWebhook(Scope),
}

type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// One route.
pub struct Route {
    /// Method.
    pub method: Method,
    /// Status of an answer that says yes.
    pub status: u16,
    /// Below `/api/v4/`; `{name}` is any part, `{name*}` the whole rest. `{id}` behind `projects/` is a project.
    pub path: &'static str,
    /// Who may.
    pub need: Need,
    /// With what.
    pub reach: Reach,
    /// What it is for.
    pub summary: &'static str,
    /// Parameters it looks at; `page` stands for those of lists.
    pub parameters: &'static [&'static str],
    handler: Handler,
}

macro_rules! routes {
    ($($method:ident $status:literal $path:literal $need:ident $reach:ident $summary:literal [$($parameter:ident)*] => $handler:path;)*) => {
        /// All of them.
        pub fn routes() -> Vec<Route> {
            vec![$(Route {
                method: Method::$method,
                status: $status,
                path: $path,
                need: $need,
                reach: $reach,
                summary: $summary,
                parameters: &[$(stringify!($parameter)),*],
                handler: |call| Box::pin($handler(call)),
            },)*]
        }
    };
}

const ANYONE: Need = Need::Anyone;
const USER: Need = Need::User;
const KNOWN: Need = Need::Known;
const CODE: Need = Need::Code;
const ADMIN: Need = Need::Admin;
const JOB: Need = Need::Job;
const GUEST: Need = Need::Level(AccessLevel::Guest);
const REPORTER: Need = Need::Level(AccessLevel::Reporter);
const DEVELOPER: Need = Need::Level(AccessLevel::Developer);
const MAINTAINER: Need = Need::Level(AccessLevel::Maintainer);
const OWNER: Need = Need::Level(AccessLevel::Owner);

const READ: Reach = Reach::Scope(Scope::ReadApi);
const WRITE: Reach = Reach::Scope(Scope::Api);
const FILES: Reach = Reach::ScopeOrJob(Scope::ReadApi);
const HOOK: Reach = Reach::ScopeOrWebhook(Scope::Api);
const PEOPLE: Reach = Reach::Scope(Scope::ReadUser);
const MAKE_RUNNER: Reach = Reach::Scope(Scope::CreateRunner);
const MANAGE_RUNNER: Reach = Reach::Scope(Scope::ManageRunner);

routes! {
    GET 200 "version" KNOWN PEOPLE "Version of the server" [] => about::version;
    GET 200 "metadata" KNOWN PEOPLE "Version of the server and more" [] => about::metadata;
    GET 200 "job" JOB FILES "The job of a job token" [] => jobs::current;

    GET 200 "user" KNOWN PEOPLE "The caller" [] => users::current;
    GET 200 "users" USER PEOPLE "Users" [username search active blocked admins page] => users::list;
    POST 201 "users" ADMIN WRITE "Make a user" [username name email password admin] => users::create;
    GET 200 "users/{user_id}" USER PEOPLE "A user" [] => users::one;
    PUT 200 "users/{user_id}" ADMIN WRITE "Change a user" [name email password admin] => users::edit;
    DELETE 204 "users/{user_id}" ADMIN WRITE "Remove a user" [] => users::delete;
    POST 201 "users/{user_id}/block" ADMIN WRITE "Block a user" [] => users::block;
    POST 201 "users/{user_id}/unblock" ADMIN WRITE "Let a user in again" [] => users::unblock;
    POST 201 "users/{user_id}/unlock" ADMIN WRITE "Forgive a user wrong passwords" [] => users::unlock;
    GET 200 "users/{user_id}/projects" USER READ "Projects below a user's name" [search visibility order_by sort simple id_after id_before pagination cursor page] => projects::of_user;
    POST 201 "users/{user_id}/personal_access_tokens" ADMIN WRITE "Make a token for a user" [name scopes expires_at] => tokens::create;
    POST 201 "user/runners" USER MAKE_RUNNER "Make a runner" [runner_type project_id description paused locked run_untagged tag_list access_level maximum_timeout maintenance_note] => runners::create;
    GET 200 "personal_access_tokens" USER READ "Personal access tokens" [user_id search state revoked page] => tokens::list;
    GET 200 "personal_access_tokens/self" KNOWN PEOPLE "The token of this request" [] => tokens::own;
    POST 200 "personal_access_tokens/self/rotate" KNOWN WRITE "A new token in the place of this request's" [expires_at] => tokens::rotate_own;
    DELETE 204 "personal_access_tokens/self" KNOWN PEOPLE "Revoke the token of this request" [] => tokens::revoke_own;
    GET 200 "personal_access_tokens/{token_id}" USER READ "A personal access token" [] => tokens::one;
    DELETE 204 "personal_access_tokens/{token_id}" USER WRITE "Revoke a personal access token" [] => tokens::revoke;
    POST 200 "personal_access_tokens/{token_id}/rotate" USER WRITE "A new token in the place of one" [expires_at] => tokens::rotate;

    GET 200 "namespaces" USER READ "Users and groups that hold projects" [search page] => namespaces::list;
    GET 200 "namespaces/{namespace_id}" USER READ "A user or group that holds projects" [] => namespaces::one;
    GET 200 "groups" ANYONE READ "Groups" [search page] => namespaces::groups;
    POST 201 "groups" ADMIN WRITE "Make a group" [name path parent_id] => namespaces::create;
    GET 200 "groups/{group_id}" ANYONE READ "A group" [] => namespaces::group;
    GET 200 "groups/{group_id}/projects" ANYONE READ "Projects of a group" [include_subgroups search visibility order_by sort simple id_after id_before pagination cursor page] => namespaces::projects;

    GET 200 "admin/ci/variables" ADMIN READ "Variables of the instance" [page] => variables::list;
    POST 201 "admin/ci/variables" ADMIN WRITE "Make a variable of the instance" [key value variable_type protected masked masked_and_hidden raw description] => variables::create;
    GET 200 "admin/ci/variables/{key}" ADMIN READ "A variable of the instance" [] => variables::one;
    PUT 200 "admin/ci/variables/{key}" ADMIN WRITE "Change a variable of the instance" [value variable_type protected masked raw description] => variables::edit;
    DELETE 204 "admin/ci/variables/{key}" ADMIN WRITE "Remove a variable of the instance" [] => variables::delete;

    GET 200 "groups/{group_id}/variables" ADMIN READ "Variables of a group" [page] => variables::list;
    POST 201 "groups/{group_id}/variables" ADMIN WRITE "Makes a variable of a group, for the projects in it and below it" [key value variable_type protected masked masked_and_hidden raw environment_scope description] => variables::create;
    GET 200 "groups/{group_id}/variables/{key}" ADMIN READ "A variable of a group" [filter] => variables::one;
    PUT 200 "groups/{group_id}/variables/{key}" ADMIN WRITE "Changes a variable of a group" [value variable_type protected masked raw environment_scope description filter] => variables::edit;
    DELETE 204 "groups/{group_id}/variables/{key}" ADMIN WRITE "Removes a variable of a group" [filter] => variables::delete;

    GET 200 "runners" USER READ "Runners that the caller may see" [type status paused tag_list page] => runners::own_page;
    GET 200 "runners/all" ADMIN READ "All runners" [type status paused tag_list page] => runners::all;
    POST 201 "runners/reset_registration_token" ADMIN WRITE "A new registration token of the instance" [] => runners::reset_registration;
    GET 200 "runners/{runner_id}" USER READ "A runner" [] => runners::one;
    PUT 200 "runners/{runner_id}" USER MANAGE_RUNNER "Change a runner" [description paused active locked run_untagged tag_list access_level maximum_timeout maintenance_note] => runners::edit;
    DELETE 204 "runners/{runner_id}" USER MANAGE_RUNNER "Remove a runner" [] => runners::delete;
    GET 200 "runners/{runner_id}/jobs" USER READ "Jobs of a runner" [status page] => runners::jobs;
    GET 200 "runners/{runner_id}/managers" USER READ "Machines of a runner" [] => runners::managers;
    POST 201 "runners/{runner_id}/reset_authentication_token" USER MANAGE_RUNNER "A new token of a runner" [] => runners::reset_token;

    GET 200 "projects" ANYONE READ "Projects" [search visibility owned membership min_access_level order_by sort simple id_after id_before pagination cursor page] => projects::list;
    POST 201 "projects" USER WRITE "Make a project" [name path namespace_id description visibility default_branch ci_config_path build_timeout ci_default_git_depth build_git_strategy auto_cancel_pending_pipelines ci_separated_caches shared_runners_enabled keep_latest_artifact public_jobs import_url mirror mirror_trigger_builds] => projects::create;
    GET 200 "projects/{id}" GUEST READ "A project" [] => projects::one;
    PUT 200 "projects/{id}" MAINTAINER WRITE "Change a project" [name description visibility default_branch ci_config_path build_timeout ci_default_git_depth build_git_strategy auto_cancel_pending_pipelines ci_separated_caches shared_runners_enabled keep_latest_artifact public_jobs import_url mirror mirror_trigger_builds] => projects::edit;
    DELETE 202 "projects/{id}" OWNER WRITE "Remove a project" [] => projects::delete;

    GET 200 "projects/{id}/mirror/pull" MAINTAINER READ "The mirror that a project is" [] => mirror::show;
    PUT 200 "projects/{id}/mirror/pull" MAINTAINER WRITE "Make a project a mirror, or change it" [enabled url auth_user auth_password ssh_private_key mirror_trigger_builds pull_requests interval reset_webhook_secret] => mirror::put;
    POST 200 "projects/{id}/mirror/pull" MAINTAINER HOOK "Fetch a mirror now; the address for webhooks of GitHub, GitLab and Gitea" [] => mirror::start;
    DELETE 204 "projects/{id}/mirror/pull" MAINTAINER WRITE "A project is a mirror no more" [] => mirror::delete;

    GET 200 "projects/{id}/members" GUEST READ "Members" [query page] => members::list;
    GET 200 "projects/{id}/members/all" GUEST READ "Members" [query page] => members::list;
    POST 201 "projects/{id}/members" MAINTAINER WRITE "Add a member" [user_id username access_level] => members::add;
    GET 200 "projects/{id}/members/{user_id}" GUEST READ "A member" [] => members::one;
    GET 200 "projects/{id}/members/all/{user_id}" GUEST READ "A member" [] => members::one;
    PUT 200 "projects/{id}/members/{user_id}" MAINTAINER WRITE "Change a member's role" [access_level] => members::edit;
    DELETE 204 "projects/{id}/members/{user_id}" MAINTAINER WRITE "Remove a member" [] => members::remove;

    GET 200 "projects/{id}/variables" MAINTAINER READ "Variables of a project" [page] => variables::list;
    POST 201 "projects/{id}/variables" MAINTAINER WRITE "Make a variable" [key value variable_type protected masked masked_and_hidden raw environment_scope description] => variables::create;
    GET 200 "projects/{id}/variables/{key}" MAINTAINER READ "A variable" [filter] => variables::one;
    PUT 200 "projects/{id}/variables/{key}" MAINTAINER WRITE "Change a variable" [value variable_type protected masked raw environment_scope description filter] => variables::edit;
    DELETE 204 "projects/{id}/variables/{key}" MAINTAINER WRITE "Remove a variable" [filter] => variables::delete;

    GET 200 "projects/{id}/pipelines" GUEST READ "Pipelines" [scope status source ref sha username name yaml_errors created_after created_before updated_after updated_before order_by sort page] => pipelines::list;
    POST 201 "projects/{id}/pipeline" DEVELOPER WRITE "Start a pipeline" [ref variables] => pipelines::create;
    GET 200 "projects/{id}/pipelines/latest" GUEST READ "The newest pipeline of a ref" [ref] => pipelines::latest;
    GET 200 "projects/{id}/pipelines/{pipeline_id}" GUEST READ "A pipeline" [] => pipelines::one;
    PUT 200 "projects/{id}/pipelines/{pipeline_id}/metadata" DEVELOPER WRITE "Give a pipeline another name" [name] => pipelines::rename;
    DELETE 204 "projects/{id}/pipelines/{pipeline_id}" OWNER WRITE "Remove a pipeline" [] => pipelines::delete;
    POST 201 "projects/{id}/pipelines/{pipeline_id}/retry" DEVELOPER WRITE "Run failed jobs of a pipeline again" [] => pipelines::retry;
    POST 200 "projects/{id}/pipelines/{pipeline_id}/cancel" DEVELOPER WRITE "Cancel a pipeline" [] => pipelines::cancel;
    GET 200 "projects/{id}/pipelines/{pipeline_id}/jobs" GUEST READ "Jobs of a pipeline" [scope include_retried page] => jobs::of_pipeline;
    GET 200 "projects/{id}/pipelines/{pipeline_id}/bridges" GUEST READ "Trigger jobs of a pipeline" [scope page] => jobs::bridges;
    GET 200 "projects/{id}/pipelines/{pipeline_id}/variables" DEVELOPER READ "Variables a pipeline was started with" [] => pipelines::variables;
    GET 200 "projects/{id}/pipelines/{pipeline_id}/test_report" GUEST READ "Test report of a pipeline" [] => pipelines::test_report;
    GET 200 "projects/{id}/pipelines/{pipeline_id}/test_report_summary" GUEST READ "Counts of the tests of a pipeline" [] => pipelines::test_report_summary;

    GET 200 "projects/{id}/jobs" GUEST READ "Jobs" [scope order_by sort pagination cursor page] => jobs::list;
    GET 200 "projects/{id}/jobs/{job_id}" GUEST READ "A job" [] => jobs::one;
    GET 200 "projects/{id}/jobs/{job_id}/trace" GUEST READ "Log of a job" [] => jobs::trace;
    POST 200 "projects/{id}/jobs/{job_id}/play" DEVELOPER WRITE "Start a manual or a delayed job" [job_variables_attributes] => jobs::play;
    POST 201 "projects/{id}/jobs/{job_id}/retry" DEVELOPER WRITE "Run a job again" [] => jobs::retry;
    POST 201 "projects/{id}/jobs/{job_id}/cancel" DEVELOPER WRITE "Cancel a job" [force] => jobs::cancel;
    POST 201 "projects/{id}/jobs/{job_id}/erase" MAINTAINER WRITE "Remove log and artifacts of a job" [] => jobs::erase;
    GET 200 "projects/{id}/jobs/{job_id}/artifacts" GUEST FILES "Archive of a job" [] => artifacts::download;
    DELETE 204 "projects/{id}/jobs/{job_id}/artifacts" MAINTAINER WRITE "Remove artifacts of a job" [] => artifacts::delete;
    POST 200 "projects/{id}/jobs/{job_id}/artifacts/keep" DEVELOPER WRITE "Artifacts of a job do not expire" [] => artifacts::keep;
    GET 200 "projects/{id}/jobs/{job_id}/artifacts/{artifact_path*}" GUEST FILES "A file of the archive of a job" [] => artifacts::file;
    GET 200 "projects/{id}/jobs/artifacts/{ref_name}/download" GUEST FILES "Archive of the newest successful job of a ref" [job] => artifacts::download_of_ref;
    GET 200 "projects/{id}/jobs/artifacts/{ref_name}/raw/{artifact_path*}" GUEST FILES "A file of the archive of the newest successful job of a ref" [job] => artifacts::file_of_ref;

    DELETE 202 "projects/{id}/artifacts" MAINTAINER WRITE "Ends the time of all artifacts of a project; those of the newest successful pipeline of a ref stay" [] => artifacts::expire_all;

    GET 200 "projects/{id}/pipeline_schedules" GUEST READ "Schedules" [scope page] => schedules::list;
    POST 201 "projects/{id}/pipeline_schedules" DEVELOPER WRITE "Make a schedule" [description ref cron cron_timezone active] => schedules::create;
    GET 200 "projects/{id}/pipeline_schedules/{schedule_id}" GUEST READ "A schedule" [] => schedules::one;
    PUT 200 "projects/{id}/pipeline_schedules/{schedule_id}" DEVELOPER WRITE "Change a schedule" [description ref cron cron_timezone active] => schedules::edit;
    DELETE 204 "projects/{id}/pipeline_schedules/{schedule_id}" DEVELOPER WRITE "Remove a schedule" [] => schedules::delete;
    POST 201 "projects/{id}/pipeline_schedules/{schedule_id}/play" DEVELOPER WRITE "Start the pipeline of a schedule now" [] => schedules::play;
    POST 201 "projects/{id}/pipeline_schedules/{schedule_id}/take_ownership" MAINTAINER WRITE "Take a schedule over" [] => schedules::take_ownership;
    POST 201 "projects/{id}/pipeline_schedules/{schedule_id}/variables" DEVELOPER WRITE "Make a variable of a schedule" [key value variable_type] => schedules::add_variable;
    GET 200 "projects/{id}/pipeline_schedules/{schedule_id}/variables/{key}" DEVELOPER READ "A variable of a schedule" [] => schedules::variable;
    PUT 200 "projects/{id}/pipeline_schedules/{schedule_id}/variables/{key}" DEVELOPER WRITE "Change a variable of a schedule" [value variable_type] => schedules::edit_variable;
    DELETE 202 "projects/{id}/pipeline_schedules/{schedule_id}/variables/{key}" DEVELOPER WRITE "Remove a variable of a schedule" [] => schedules::delete_variable;

    GET 200 "projects/{id}/pipeline_schedules/{schedule_id}/pipelines" GUEST READ "Pipelines that a schedule started" [sort page] => schedules::pipelines;

    GET 200 "projects/{id}/access_tokens" MAINTAINER READ "Tokens of a project" [state page] => tokens::of_project;
    POST 201 "projects/{id}/access_tokens" MAINTAINER WRITE "Make a token of a project" [name scopes access_level expires_at] => tokens::create_of_project;
    GET 200 "projects/{id}/access_tokens/{token_id}" MAINTAINER READ "A token of a project" [] => tokens::one_of_project;
    DELETE 204 "projects/{id}/access_tokens/{token_id}" MAINTAINER WRITE "Revoke a token of a project" [] => tokens::revoke_of_project;
    POST 200 "projects/{id}/access_tokens/{token_id}/rotate" MAINTAINER WRITE "A new token in the place of a project's" [expires_at] => tokens::rotate_of_project;

    GET 200 "projects/{id}/triggers" MAINTAINER READ "Trigger tokens" [page] => triggers::list;
    POST 201 "projects/{id}/triggers" MAINTAINER WRITE "Make a trigger token" [description] => triggers::create;
    GET 200 "projects/{id}/triggers/{trigger_id}" MAINTAINER READ "A trigger token" [] => triggers::one;
    PUT 200 "projects/{id}/triggers/{trigger_id}" MAINTAINER WRITE "Change a trigger token" [description] => triggers::edit;
    DELETE 204 "projects/{id}/triggers/{trigger_id}" MAINTAINER WRITE "Revoke a trigger token" [] => triggers::revoke;
    POST 201 "projects/{id}/trigger/pipeline" ANYONE FILES "Start a pipeline with a trigger token" [token ref variables] => triggers::start_pipeline;
    POST 201 "projects/{id}/ref/{ref}/trigger/pipeline" ANYONE FILES "Start a pipeline with a trigger token" [token variables] => triggers::start_pipeline;

    GET 200 "projects/{id}/runners" MAINTAINER READ "Runners that serve a project" [type status paused tag_list page] => runners::of_project;
    POST 201 "projects/{id}/runners" MAINTAINER WRITE "Give a runner to a project" [runner_id] => runners::enable;
    DELETE 204 "projects/{id}/runners/{runner_id}" MAINTAINER WRITE "Take a runner from a project" [] => runners::disable;
    POST 201 "projects/{id}/runners/reset_registration_token" MAINTAINER WRITE "A new registration token of a project" [] => runners::reset_registration;

    POST 200 "ci/lint" USER READ "Checks a configuration of no project" [content include_merged_yaml include_jobs] => lint::of_text_alone;
    GET 200 "projects/{id}/ci/lint" DEVELOPER READ "Check the configuration of a commit" [content_ref sha ref dry_run_ref dry_run include_jobs] => lint::of_commit;
    POST 200 "projects/{id}/ci/lint" DEVELOPER WRITE "Check a configuration" [content ref dry_run include_jobs] => lint::of_text;

    GET 200 "projects/{id}/environments" REPORTER READ "Environments" [name search states page] => environments::list;
    POST 201 "projects/{id}/environments" DEVELOPER WRITE "Make an environment" [name description external_url tier auto_stop_setting] => environments::create;
    POST 200 "projects/{id}/environments/stop_stale" MAINTAINER WRITE "Stop environments that nobody has used for long" [before] => environments::stop_stale;
    DELETE 200 "projects/{id}/environments/review_apps" MAINTAINER WRITE "Remove stopped environments below review/" [before limit dry_run] => environments::delete_review_apps;
    GET 200 "projects/{id}/environments/{environment_id}" REPORTER READ "An environment" [] => environments::one;
    PUT 200 "projects/{id}/environments/{environment_id}" DEVELOPER WRITE "Change an environment" [description external_url tier auto_stop_setting] => environments::change;
    DELETE 204 "projects/{id}/environments/{environment_id}" DEVELOPER WRITE "Remove a stopped environment" [] => environments::delete;
    POST 200 "projects/{id}/environments/{environment_id}/stop" DEVELOPER WRITE "Stop an environment" [force] => environments::stop;

    GET 200 "projects/{id}/merge_requests" CODE READ "Merge requests" [state source_branch target_branch search iids order_by sort page] => merge_requests::list;
    POST 201 "projects/{id}/merge_requests" DEVELOPER WRITE "Open a merge request" [source_branch target_branch title description labels target_project_id] => merge_requests::create;
    GET 200 "projects/{id}/merge_requests/{merge_request_iid}" CODE READ "A merge request" [] => merge_requests::one;
    PUT 200 "projects/{id}/merge_requests/{merge_request_iid}" DEVELOPER WRITE "Change, close or reopen a merge request" [title description target_branch labels add_labels remove_labels state_event] => merge_requests::change;
    DELETE 204 "projects/{id}/merge_requests/{merge_request_iid}" OWNER WRITE "Remove a merge request" [] => merge_requests::delete;
    GET 200 "projects/{id}/merge_requests/{merge_request_iid}/pipelines" CODE READ "Pipelines of a merge request" [page] => merge_requests::pipelines;
    POST 201 "projects/{id}/merge_requests/{merge_request_iid}/pipelines" DEVELOPER WRITE "Run the pipeline of a merge request" [] => merge_requests::run;

    GET 200 "projects/{id}/deployments" REPORTER READ "Deployments" [environment status order_by sort updated_after updated_before finished_after finished_before page] => deployments::list;
    GET 200 "projects/{id}/deployments/{deployment_id}" REPORTER READ "A deployment" [] => deployments::one;

    GET 200 "projects/{id}/protected_branches" MAINTAINER READ "Rules for branches" [search page] => protected_refs::branches;
    POST 201 "projects/{id}/protected_branches" MAINTAINER WRITE "Protect branches" [name push_access_level merge_access_level allow_force_push allowed_to_push allowed_to_merge] => protected_refs::protect_branch;
    GET 200 "projects/{id}/protected_branches/{name}" MAINTAINER READ "A rule for branches" [] => protected_refs::branch;
    PATCH 200 "projects/{id}/protected_branches/{name}" MAINTAINER WRITE "Change a rule for branches" [allow_force_push allowed_to_push allowed_to_merge] => protected_refs::edit_branch;
    DELETE 204 "projects/{id}/protected_branches/{name}" MAINTAINER WRITE "Unprotect branches" [] => protected_refs::open_branch;
    GET 200 "projects/{id}/protected_tags" MAINTAINER READ "Rules for tags" [page] => protected_refs::tags;
    POST 201 "projects/{id}/protected_tags" MAINTAINER WRITE "Protect tags" [name create_access_level allowed_to_create] => protected_refs::protect_tag;
    GET 200 "projects/{id}/protected_tags/{name}" MAINTAINER READ "A rule for tags" [] => protected_refs::tag;
    DELETE 204 "projects/{id}/protected_tags/{name}" MAINTAINER WRITE "Unprotect tags" [] => protected_refs::open_tag;

    GET 200 "projects/{id}/repository/branches" CODE READ "Branches" [search page] => repository::branches;
    POST 201 "projects/{id}/repository/branches" DEVELOPER WRITE "Make a branch" [branch ref] => repository::create_branch;
    GET 200 "projects/{id}/repository/branches/{branch}" CODE READ "A branch" [] => repository::branch;
    DELETE 204 "projects/{id}/repository/branches/{branch}" DEVELOPER WRITE "Remove a branch" [] => repository::delete_branch;
    GET 200 "projects/{id}/repository/tags" CODE READ "Tags" [search order_by sort page] => repository::tags;
    POST 201 "projects/{id}/repository/tags" DEVELOPER WRITE "Make a tag" [tag_name ref message] => repository::create_tag;
    GET 200 "projects/{id}/repository/tags/{tag_name}" CODE READ "A tag" [] => repository::tag;
    DELETE 204 "projects/{id}/repository/tags/{tag_name}" DEVELOPER WRITE "Remove a tag" [] => repository::delete_tag;
    GET 200 "projects/{id}/repository/commits" CODE READ "Commits" [ref_name path since until all first_parent page] => repository::commits;
    GET 200 "projects/{id}/repository/commits/{sha}" CODE READ "A commit" [] => repository::commit;
    GET 200 "projects/{id}/repository/commits/{sha}/diff" CODE READ "What a commit changed" [page] => repository::commit_diff;
    GET 200 "projects/{id}/repository/commits/{sha}/refs" CODE READ "Branches and tags that have a commit" [type page] => repository::commit_refs;
    GET 200 "projects/{id}/repository/commits/{sha}/statuses" CODE READ "Jobs of a commit, and what other systems said of it" [ref stage name all pipeline_id page] => statuses::list;
    POST 201 "projects/{id}/statuses/{sha}" DEVELOPER WRITE "Say what another system found of a commit" [state ref name context target_url description coverage] => statuses::set;
    GET 200 "projects/{id}/repository/compare" CODE READ "What lies between two commits" [from to straight] => repository::compare;
    GET 200 "projects/{id}/repository/merge_base" CODE READ "The newest commit that others come from" [refs] => repository::merge_base;
    GET 200 "projects/{id}/repository/tree" CODE READ "What a directory holds" [path ref recursive page] => files::tree;
    GET 200 "projects/{id}/repository/{archive}" CODE READ "An archive: `archive.tar.gz`, `archive.tar`, `archive.zip`" [sha path] => files::archive;
    GET 200 "projects/{id}/repository/files/{file_path}" CODE READ "A file, in base64" [ref] => files::one;
    GET 200 "projects/{id}/repository/files/{file_path}/raw" CODE READ "The content of a file" [ref] => files::raw;
    GET 200 "projects/{id}/repository/blobs/{sha}/raw" CODE READ "The content of a blob" [] => files::blob;
}

/// Most bytes of a body.
const LONGEST: usize = 4 << 20;

/// Any request below `/api/v4/`.
pub(super) async fn serve(app: Arc<App>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{}{}", app.settings.external_url, parts.uri.path());
    let query = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    let outcome = answer(app, parts, body, &query, &url).await;
    let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-store"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

async fn answer(
    app: Arc<App>,
    parts: Parts,
    body: Body,
    query: &[(String, String)],
    url: &str,
) -> Result<Response, Failure> {
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() };
    let tail = parts.uri.path().strip_prefix("/api/v4/").unwrap_or_default().trim_end_matches('/').to_owned();
    let table = routes();
    let fitting: Vec<(&Route, Vec<(&'static str, String)>)> =
        table.iter().filter_map(|route| Some((route, matches(route.path, &tail)?))).collect();
    if fitting.is_empty() {
        note_route(&parts.extensions, Class::Api, "none");
        return Err(Failure::not_found(""));
    }
    // Those with fewer names of their own come first: `pipelines/latest` is no pipeline's number.
    let Some((route, named)) =
        fitting.into_iter().filter(|(route, _)| route.method == method).min_by_key(|(_, named)| named.len())
    else {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "405 Not Allowed").into());
    };
    note_route(&parts.extensions, Class::Api, route.path);
    let mut given = Map::new();
    parameters::put_pairs(&mut given, query.iter().cloned());
    let caller = match given.get("private_token").and_then(Value::as_str) {
        Some(token) => Caller::of_parameter(&app, &Secret::new(token), &parts.extensions).await?,
        None => Caller::of(&app, &parts.headers, &parts.extensions).await?,
    };
    not_forged(&caller, &parts)?;
    let headers = parts.headers.clone();
    let mut call =
        Call { now: app.now(), app, caller, parts: named, given, body: Bytes::new(), headers, project: None };
    if call.parts.iter().any(|(_, part)| part.contains('\0')) {
        return Err(zero_byte());
    }
    allowed(&mut call, route).await?;
    if method != Method::GET {
        call.body = read_body(&mut call.given, parts, body).await?;
    }
    if call.given.values().any(holds_nul) {
        return Err(zero_byte());
    }
    let (at, status) = (call.page(), StatusCode::from_u16(route.status).unwrap_or_default());
    Ok(match (route.handler)(call).await? {
        Reply::Json(value) => (status, Json(value)).into_response(),
        Reply::Nothing => status.into_response(),
        Reply::Raw(response) => response,
        Reply::Keyset(entries, next) => {
            let headers = keyset_headers(at?.size, next, url, query);
            let mut response = (status, Json(entries)).into_response();
            response.headers_mut().extend(headers);
            response
        }
        Reply::List(page) => {
            let headers = page_headers(at?, page.total, url, query);
            let mut response = (status, Json(page.entries)).into_response();
            response.headers_mut().extend(headers);
            response
        }
    })
}

fn zero_byte() -> Failure {
    Refusal::bad("a parameter holds a zero byte").into()
}

/// Whether a text anywhere in a value has a zero byte, which nothing here can have and PostgreSQL does not keep.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What stands for the parts of a route's path; `None`: it is another route.
fn matches(pattern: &'static str, tail: &str) -> Option<Vec<(&'static str, String)>> {
    let mut rest = Some(tail);
    let mut named = Vec::new();
    for part in pattern.split('/') {
        let left = rest?;
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        if let Some(name) = name.and_then(|name| name.strip_suffix('*')) {
            named.push((name, decode(left)));
            return (!left.is_empty()).then_some(named);
        }
        let (given, behind) = match left.split_once('/') {
            Some((given, behind)) => (given, Some(behind)),
            None => (left, None),
        };
        match name {
            Some(name) if !given.is_empty() => named.push((name, decode(given))),
            None if given == part => {}
            _ => return None,
        }
        rest = behind;
    }
    rest.is_none().then_some(named)
}

/// Percent signs put right; what has a meaning in queries has none here.
fn decode(text: &str) -> String {
    let plain = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(plain.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).into_owned().collect()
}

/// A browser's session must show its own token when it changes something: cookies come by themselves.
fn not_forged(caller: &Caller, parts: &Parts) -> Result<(), Failure> {
    let Some(session) = caller.session() else { return Ok(()) };
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if same(session.csrf.expose(), text("x-csrf-token")) {
        Ok(())
    } else {
        Err(Refusal::unauthorized().into())
    }
}

async fn allowed(call: &mut Call, route: &Route) -> Result<(), Failure> {
    match (route.reach, &call.caller) {
        (Reach::ScopeOrJob(_), Caller::Job(_)) => {}
        (Reach::ScopeOrWebhook(_), _) if webhook::shown(&call.headers).is_some() => return Ok(()),
        (Reach::Scope(scope) | Reach::ScopeOrJob(scope) | Reach::ScopeOrWebhook(scope), caller) => {
            caller.need_scope(scope)?;
        }
    }
    match route.need {
        Need::Anyone => Ok(()),
        Need::Job => match call.caller {
            Caller::Job(_) => Ok(()),
            _ => Err(Refusal::unauthorized().into()),
        },
        Need::Known | Need::User | Need::Admin => match &call.caller {
            Caller::Nobody => Err(Refusal::unauthorized().into()),
            Caller::User { .. } | Caller::Project(_) if route.need == Need::Known => Ok(()),
            Caller::User { user, .. } if route.need == Need::User || user.admin => Ok(()),
            Caller::User { .. } | Caller::Project(_) | Caller::Job(_) => Err(Failure::forbidden()),
        },
        Need::Level(_) | Need::Code => {
            let unseen = match call.caller {
                Caller::Nobody => Refusal::unauthorized(),
                _ => Refusal::not_found("project"),
            };
            let Some(project) = find(call).await? else { return Err(unseen.into()) };
            let least = match route.need {
                Need::Level(least) => least,
                _ if project.visibility == "private" => AccessLevel::Reporter,
                _ => AccessLevel::Guest,
            };
            let level = call.caller.need_level(&call.app, &project, least).await?;
            call.project = Some((project, level));
            Ok(())
        }
    }
}

/// The project of a number or a path.
pub(super) async fn find(call: &Call) -> Result<Option<ProjectView>, Failure> {
    let wanted = call.part("id");
    match wanted.parse::<i64>() {
        Ok(id) => match call.app.store.project(id).await {
            Ok(project) => Ok(Some(project)),
            Err(harrier_database::DatabaseError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        },
        Err(_) => Ok(call.app.store.project_at(wanted).await?),
    }
}

async fn read_body(given: &mut Map<String, Value>, parts: Parts, body: Body) -> Result<Bytes, Failure> {
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    if kind.starts_with("multipart/form-data") {
        let bad = |error: &dyn std::fmt::Display| Refusal::bad(&format!("the form cannot be read: {error}"));
        let request = Request::from_parts(parts, body);
        let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(&error))?;
        while let Some(field) = form.next_field().await.map_err(|error| bad(&error))? {
            let name = field.name().unwrap_or_default().to_owned();
            let text = field.text().await.map_err(|error| bad(&error))?;
            parameters::put_pairs(given, [(name, text)]);
        }
        return Ok(Bytes::new());
    }
    let bytes = axum::body::to_bytes(body, LONGEST).await;
    let bytes =
        bytes.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "413 Request Entity Too Large"))?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    if kind.contains("json") {
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(members)) => parameters::put_json(given, members),
            Ok(_) => {}
            Err(error) => return Err(Refusal::bad(&format!("the body is not valid JSON: {error}")).into()),
        }
    } else {
        parameters::put_pairs(given, pairs(&bytes));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_routes() {
        for (pattern, path, named) in [
            ("projects/{id}", "projects/1", Some(vec!["1"])),
            ("projects/{id}", "projects/a%2Fb%2Fc", Some(vec!["a/b/c"])),
            ("projects/{id}", "projects", None),
            ("projects/{id}", "projects/1/2", None),
            ("projects", "projects", Some(vec![])),
            ("p/{a}/f/{rest*}", "p/1/f/x/y%20z+.txt", Some(vec!["1", "x/y z+.txt"])),
            ("p/{a}/f/{rest*}", "p/1/f", None),
            ("p/{a}", "p/x%3Dy%26z", Some(vec!["x=y&z"])),
            ("p/{a}", "p/x=y", Some(vec!["x=y"])),
        ] {
            let found = matches(pattern, path);
            let found = found.map(|found| found.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
            let named = named.map(|named| named.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, named, "{pattern} {path}");
        }
    }

    #[test]
    fn no_route_is_twice_in_the_table() {
        let mut seen = std::collections::HashSet::new();
        for route in routes() {
            assert!(seen.insert((route.method.clone(), route.path)), "{} {}", route.method, route.path);
        }
    }
}
