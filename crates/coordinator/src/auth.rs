//! Who asks, and what they may do: sessions, personal and project tokens, job tokens, passwords; GitLab's roles. Called by
//! git, the REST API and the pages; the runner API has tokens of its own.
//!
//! What a request brings decides who it is from; nothing in a commit or a body ever does.

use crate::answer::{Answer, Refusal};
use crate::app::App;
use crate::password;
use crate::request_record::note_who;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use base64::Engine as _;
use harrier_base::Secret;
use harrier_database::{AccessLevel, JobView, ProjectView, SessionView, TokenView, UserView};
use std::net::SocketAddr;

/// Name of the session's cookie.
pub const COOKIE: &str = "harrier_session";

/// Who asks.
#[derive(Clone)]
pub enum Caller {
    /// Nobody that is known.
    Nobody,
    /// A person.
    User {
        /// Who.
        user: Box<UserView>,
        /// How that is known.
        by: By,
    },
    /// A project's own token.
    Project(Box<TokenView>),
    /// A job that runs now.
    Job(Box<JobView>),
}

/// How a person is known.
#[derive(Clone)]
pub enum By {
    /// Logged in on the page. Whatever changes something must bring the session's token against forged requests.
    Session(Box<SessionView>),
    /// A personal access token, which may do what its scopes say.
    Token(Box<TokenView>),
    /// User name and password, with the request itself.
    Password,
}

/// What a token may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Api,
    /// Read all that the API gives.
    ReadApi,
    /// Fetch repositories.
    ReadRepository,
    /// Push to repositories.
    WriteRepository,
    /// Make runners.
    CreateRunner,
    /// Change and delete runners.
    ManageRunner,
    /// Read users.
    ReadUser,
}

impl Scope {
    /// GitLab's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::ReadApi => "read_api",
            Self::ReadRepository => "read_repository",
            Self::WriteRepository => "write_repository",
            Self::CreateRunner => "create_runner",
            Self::ManageRunner => "manage_runner",
            Self::ReadUser => "read_user",
        }
    }

    /// All of them, for those who choose.
    pub const ALL: [Self; 7] = [
        Self::Api,
        Self::ReadApi,
        Self::ReadRepository,
        Self::WriteRepository,
        Self::CreateRunner,
        Self::ManageRunner,
        Self::ReadUser,
    ];

    /// Whether a token with these words may. As GitLab has it, `api` does not reach into repositories' reads by name but
    /// git takes it; `read_api` reads users too.
    fn given_by(self, words: &[String]) -> bool {
        let has = |scope: Self| words.iter().any(|word| word == scope.word());
        has(self)
            || has(Self::Api)
            || match self {
                Self::ReadUser => has(Self::ReadApi),
                Self::ReadRepository => has(Self::WriteRepository),
                Self::Api
                | Self::ReadApi
                | Self::WriteRepository
                | Self::CreateRunner
                | Self::ManageRunner => false,
            }
    }
}

impl Caller {
    /// Of a request's headers; `extensions` has the peer's address. A credential that is wrong is an error, even where none
    /// was needed: its owner should know.
    pub async fn of(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Answer<Self> {
        let limited = TokenGuesses::of(app, extensions);
        limited.check()?;
        let found = Self::of_headers(app, headers, extensions).await;
        limited.note(&found);
        found.inspect(|caller| note_who(extensions, &caller.shown()))
    }

    /// Of a token among the parameters of a request.
    pub async fn of_parameter(app: &App, token: &Secret, extensions: &Extensions) -> Answer<Self> {
        let limited = TokenGuesses::of(app, extensions);
        limited.check()?;
        let found = Self::of_token(app, token).await;
        limited.note(&found);
        found.inspect(|caller| note_who(extensions, &caller.shown()))
    }

    /// Who it is, for the log: a name or a number, never a credential.
    fn shown(&self) -> String {
        match self {
            Self::Nobody => String::new(),
            Self::User { user, .. } => user.username.clone(),
            Self::Project(token) => format!("project token {}", token.id),
            Self::Job(job) => format!("job {}", job.id),
        }
    }

    async fn of_headers(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Answer<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = text("private-token") {
            return Self::of_token(app, &Secret::new(token)).await;
        }
        if let Some(token) = text("job-token") {
            return Self::of_job_token(app, &Secret::new(token)).await;
        }
        if let Some(value) = text(header::AUTHORIZATION.as_str()) {
            let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                return Self::of_token(app, &Secret::new(rest.trim())).await;
            }
            if scheme.eq_ignore_ascii_case("basic") {
                return Self::of_basic(app, rest.trim(), extensions).await;
            }
            return Err(Refusal::unauthorized());
        }
        match session_cookie(headers) {
            Some(secret) => Self::of_session(app, &secret).await,
            None => Ok(Self::Nobody),
        }
    }

    /// Of a personal, project or job token.
    pub async fn of_token(app: &App, token: &Secret) -> Answer<Self> {
        if token.expose().starts_with(harrier_database::TokenKind::Job.prefix()) {
            return Self::of_job_token(app, token).await;
        }
        let found = app.store.token(token, app.now()).await?.ok_or_else(Refusal::unauthorized)?;
        match (found.kind.as_str(), found.user) {
            ("personal", Some(user)) => {
                let user = app.store.user(user).await?;
                Self::person(user, By::Token(Box::new(found)))
            }
            ("project", _) => Ok(Self::Project(Box::new(found))),
            _ => Err(Refusal::unauthorized()),
        }
    }

    async fn of_job_token(app: &App, token: &Secret) -> Answer<Self> {
        match app.store.job_of_token(token).await? {
            Some(job) if job.executes() => Ok(Self::Job(Box::new(job))),
            _ => Err(Refusal::unauthorized()),
        }
    }

    async fn of_session(app: &App, secret: &Secret) -> Answer<Self> {
        let Some(session) = app.store.session(secret, app.now()).await? else { return Ok(Self::Nobody) };
        let user = app.store.user(session.user).await?;
        // Somebody who was blocked while logged in is nobody.
        Ok(Self::person(user, By::Session(Box::new(session))).unwrap_or(Self::Nobody))
    }

    async fn of_basic(app: &App, encoded: &str, extensions: &Extensions) -> Answer<Self> {
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
        let decoded =
            decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(Refusal::unauthorized)?;
        let (name, secret) = decoded.split_once(':').ok_or_else(Refusal::unauthorized)?;
        if name.contains('\0') {
            return Err(Refusal::unauthorized());
        }
        let secret = Secret::new(secret);
        let is_token = secret.expose().starts_with("glpat-") || secret.expose().starts_with("glcbt-");
        if is_token || name == "gitlab-ci-token" {
            return Self::of_token(app, &secret).await;
        }
        let user = log_in(app, name, secret, peer(extensions)).await?;
        Self::person(user, By::Password)
    }

    fn person(user: UserView, by: By) -> Answer<Self> {
        if user.blocked {
            return Err(Refusal::forbidden("your account is blocked; ask an administrator"));
        }
        Ok(Self::User { user: Box::new(user), by })
    }

    /// The person, if it is one.
    pub fn user(&self) -> Option<&UserView> {
        match self {
            Self::User { user, .. } => Some(user),
            Self::Nobody | Self::Project(_) | Self::Job(_) => None,
        }
    }

    /// The session, if it is one.
    pub fn session(&self) -> Option<&SessionView> {
        match self {
            Self::User { by: By::Session(session), .. } => Some(session),
            _ => None,
        }
    }

    /// Administers the instance.
    pub fn is_admin(&self) -> bool {
        self.user().is_some_and(|user| user.admin)
    }

    /// Whether the credential itself reaches that far; what its owner may do is another question.
    pub fn scoped(&self, scope: Scope) -> bool {
        match self {
            Self::Nobody => matches!(scope, Scope::ReadApi | Scope::ReadRepository),
            Self::User { by: By::Session(_) | By::Password, .. } => true,
            Self::User { by: By::Token(token), .. } | Self::Project(token) => scope.given_by(&token.scopes),
            Self::Job(_) => scope == Scope::ReadRepository,
        }
    }

    /// Like [`Self::scoped`], with GitLab's answer.
    pub fn need_scope(&self, scope: Scope) -> Answer<()> {
        match (self.scoped(scope), self) {
            (true, _) => Ok(()),
            (false, Self::Nobody) => Err(Refusal::unauthorized()),
            (false, _) => Err(Refusal::forbidden(&format!("the token needs the scope `{}`", scope.word()))),
        }
    }

    /// What the caller is in a project; `None`: may not even know that it exists.
    pub async fn level(&self, app: &App, project: &ProjectView) -> Answer<Option<AccessLevel>> {
        let open_to_all = project.visibility == "public";
        let seen = |known: bool| {
            (open_to_all || known && project.visibility == "internal").then_some(AccessLevel::Guest)
        };
        Ok(match self {
            Self::Nobody => seen(false),
            Self::User { user, .. } if user.admin => Some(AccessLevel::Owner),
            Self::User { user, .. } => app.store.access(project.id, user.id).await?.or(seen(true)),
            Self::Project(token) if token.project == Some(project.id) => {
                token.access_level.and_then(AccessLevel::from_number)
            }
            Self::Project(_) => seen(true),
            // A job reads its own project; others only if everyone may.
            Self::Job(job) if job.project == project.id => Some(AccessLevel::Reporter),
            Self::Job(_) => seen(false),
        })
    }

    /// Like [`Self::level`], with GitLab's answers: whoever may not see a project hears that there is none.
    pub async fn need_level(
        &self,
        app: &App,
        project: &ProjectView,
        least: AccessLevel,
    ) -> Answer<AccessLevel> {
        match self.level(app, project).await? {
            Some(level) if level >= least => Ok(level),
            Some(_) if matches!(self, Self::Nobody) => Err(Refusal::unauthorized()),
            Some(_) => Err(Refusal::forbidden("")),
            None if matches!(self, Self::Nobody) => Err(Refusal::unauthorized()),
            None => Err(Refusal::not_found("project")),
        }
    }
}

/// Wrong tokens by address. Nobody can guess one; this keeps a machine that tries from having the tables look for them.
struct TokenGuesses<'a> {
    app: &'a App,
    name: Option<String>,
}

impl<'a> TokenGuesses<'a> {
    /// Wrong ones within ten minutes: far more than a script with an old token and some patience makes.
    const MOST: usize = 300;

    fn of(app: &'a App, extensions: &Extensions) -> Self {
        Self { app, name: peer(extensions).map(|peer| format!("tokens from {}", peer.ip())) }
    }

    fn check(&self) -> Answer<()> {
        let Some(name) = &self.name else { return Ok(()) };
        match self.app.attempts.wait_beyond(Self::MOST, std::slice::from_ref(name), self.app.now()) {
            0 => Ok(()),
            wait => Err(too_many("too many wrong tokens", wait)),
        }
    }

    fn note(&self, found: &Answer<Caller>) {
        if let (Err(refusal), Some(name)) = (found, &self.name)
            && refusal.status == StatusCode::UNAUTHORIZED
        {
            self.app.metrics.log_in_failed();
            self.app.attempts.failed(std::slice::from_ref(name), self.app.now());
        }
    }
}

fn too_many(what: &str, wait: i64) -> Refusal {
    let seconds = wait / 1000 + 1;
    let text = format!("{what}; try again in {} minutes", seconds / 60 + 1);
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, text).with("retry-after", &seconds.to_string())
}

/// The user of a name and a password, unless too many wrong ones were tried.
pub async fn log_in(app: &App, name: &str, password: Secret, peer: Option<SocketAddr>) -> Answer<UserView> {
    let now = app.now();
    let mut names = vec![format!("user {}", name.to_lowercase())];
    names.extend(peer.map(|peer| format!("address {}", peer.ip())));
    let (user, hash) = match app.store.user_named(name).await? {
        Some((user, hash)) => (Some(user), hash),
        None => (None, None),
    };
    if let Some(at) = user.as_ref().and_then(|user| user.unlocked_at) {
        app.attempts.forgive(&names[0], at);
    }
    let wait = app.attempts.wait(&names, now);
    if wait > 0 {
        return Err(too_many("too many wrong passwords", wait));
    }
    match (password::verify(password, hash).await, user) {
        (true, Some(user)) if !user.blocked => {
            app.attempts.passed(&names[0]);
            Ok(user)
        }
        _ => {
            app.attempts.failed(&names, now);
            tracing::warn!(user = name, "a log-in failed");
            Err(Refusal::unauthorized())
        }
    }
}

/// Where a request comes from, when the server was told.
pub fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// What the browser keeps of its session.
pub fn session_cookie(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_reach_as_far_as_gitlabs() {
        for (words, scope, may) in [
            (&["api"][..], Scope::WriteRepository, true),
            (&["read_api"], Scope::ReadApi, true),
            (&["read_api"], Scope::ReadUser, true),
            (&["read_api"], Scope::Api, false),
            (&["read_api"], Scope::ReadRepository, false),
            (&["write_repository"], Scope::ReadRepository, true),
            (&["read_repository"], Scope::WriteRepository, false),
            (&["create_runner"], Scope::ManageRunner, false),
            (&[], Scope::ReadApi, false),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(scope.given_by(&words), may, "{words:?} {scope:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert!(session_cookie(&headers).is_none());
        headers.append(header::COOKIE, "a=b; harrier_session=secret; c=d".parse().expect("a header"));
        assert_eq!(session_cookie(&headers).expect("it is there").expose(), "secret");
    }
}
