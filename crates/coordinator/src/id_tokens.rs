//! `id_tokens` of jobs (`ci-yaml.md` §25): signed statements of who a job is, for services that trust this server. The key is made when it is
//! first wanted and kept sealed in the tables; what verifies it is public. Called when a job is handed out, and by the two
//! addresses where verifiers look.

use crate::app::App;
use crate::make_pipeline::{MakeError, waiting};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harrier_base::Variable;
use harrier_database::{AccessLevel, Claim, DatabaseError, ProjectView, Reach};
use harrier_pipeline::downstream::id_tokens;
use harrier_pipeline::{EnvironmentAction, IdToken, JobId, environment_tier};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Bits of the modulus, as GitLab has it.
const BITS: usize = 2048;
/// Where it is kept.
const SETTING: &str = "id_token_key";
/// The least that a token is good for, in seconds.
const LEAST: i64 = 300;
/// How much earlier than now a token begins, in seconds: clocks differ.
const EARLIER: i64 = 5;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The tables.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// None could be made.
    #[error("no key for id tokens can be made: {0}")]
    Making(String),
    /// What is kept is none.
    #[error("the key for id tokens that is kept cannot be used: {0}")]
    Kept(String),
}

/// A key as it is kept: the private form of a JSON Web Key (RFC 7518 §6.3). It is a secret: sealed at once, and never shown.
#[derive(Serialize, Deserialize)]
struct Kept {
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
}

/// A key that signs.
pub struct SigningKey {
    pair: RsaKeyPair,
    n: String,
    e: String,
    /// Its name: the thumbprint of its public half (RFC 7638).
    id: String,
}

impl SigningKey {
    /// A new one, as it is kept. Takes up to a second.
    fn make() -> Result<Vec<u8>, KeyError> {
        let made = rsa::PrivateKey::new(&mut Entropy, BITS);
        let made = made.map_err(|error| KeyError::Making(error.to_string()))?;
        let none = || KeyError::Making("a part of it is missing".to_owned());
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let [p, q] = made.primes() else { return Err(none()) };
        let coefficient = made.qinv().ok_or_else(none)?.retrieve();
        let kept = Kept {
            n: text(&made.n_bytes()),
            e: text(&made.e_bytes()),
            d: text(&made.d().to_be_bytes_trimmed_vartime()),
            p: text(&p.to_be_bytes_trimmed_vartime()),
            q: text(&q.to_be_bytes_trimmed_vartime()),
            dp: text(&made.dp().ok_or_else(none)?.to_be_bytes_trimmed_vartime()),
            dq: text(&made.dq().ok_or_else(none)?.to_be_bytes_trimmed_vartime()),
            qi: text(&coefficient.to_be_bytes_trimmed_vartime()),
        };
        serde_json::to_vec(&kept).map_err(|error| KeyError::Making(error.to_string()))
    }

    /// From what is kept; ring checks that its parts belong together.
    fn read(kept: &[u8]) -> Result<Self, KeyError> {
        let kept: Kept = serde_json::from_slice(kept).map_err(|error| KeyError::Kept(error.to_string()))?;
        let bytes = |text: &str| {
            URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Kept("a part is no base64".to_owned()))
        };
        let parts = KeyPairComponents {
            public_key: PublicKeyComponents { n: bytes(&kept.n)?, e: bytes(&kept.e)? },
            d: bytes(&kept.d)?,
            p: bytes(&kept.p)?,
            q: bytes(&kept.q)?,
            dP: bytes(&kept.dp)?,
            dQ: bytes(&kept.dq)?,
            qInv: bytes(&kept.qi)?,
        };
        let pair = RsaKeyPair::from_components(&parts).map_err(|error| KeyError::Kept(error.to_string()))?;
        let (n, e) = (kept.n, kept.e);
        let thumb = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, thumb.as_bytes()));
        Ok(Self { pair, n, e, id })
    }

    /// A signed token of these claims.
    fn sign(&self, claims: &Map<String, Value>) -> Result<String, KeyError> {
        let failed = |error: &dyn std::fmt::Display| KeyError::Making(error.to_string());
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({ "kid": self.id, "typ": "JWT", "alg": "RS256" });
        let signed = format!("{}.{}", text(&head), text(&Value::Object(claims.clone())));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|error| failed(&error))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Its public half (RFC 7517).
    fn public(&self) -> Value {
        json!({ "kty": "RSA", "kid": self.id, "e": self.e, "n": self.n, "use": "sig", "alg": "RS256" })
    }
}

/// The operating system's random numbers, by ring, for the crate that makes the key.
struct Entropy;

impl TryRng for Entropy {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        // There is nothing to fall back to: a key of anything else would be worse than none.
        let filled = SystemRandom::new().fill(bytes);
        filled.expect("the system gives random numbers; it gave them for secret.key");
        Ok(())
    }
}

impl TryCryptoRng for Entropy {}

impl App {
    /// The key, made if there is none yet.
    pub(crate) async fn signing_key(&self) -> Result<Arc<SigningKey>, KeyError> {
        let key = self.signing_key.get_or_try_init(|| async {
            let kept = match self.store.sealed_setting(SETTING).await? {
                Some(kept) => kept,
                None => {
                    let made = tokio::task::spawn_blocking(SigningKey::make).await;
                    let made = made.map_err(|_| KeyError::Making("it was interrupted".to_owned()))??;
                    self.store.seal_setting_once(SETTING, made).await?
                }
            };
            SigningKey::read(&kept).map(Arc::new)
        });
        key.await.cloned()
    }

    /// The signed tokens of a job that is handed out, as masked variables.
    pub(crate) async fn id_tokens(
        &self,
        claim: &Claim,
        project: &ProjectView,
    ) -> Result<Vec<Variable>, MakeError> {
        let job = claim.config.job(JobId(claim.job.position));
        if job.id_tokens.is_empty() {
            return Ok(Vec::new());
        }
        let given = self.given_facts(&claim.job).await?;
        let wanted = id_tokens(job, &given.facts());
        let key = self.signing_key().await.map_err(|error| {
            tracing::error!(error = %error, "no id token can be signed");
            match error {
                KeyError::Database(error) => MakeError::Database(error),
                KeyError::Making(_) | KeyError::Kept(_) => MakeError::Compiler,
            }
        })?;
        let about = self.about(claim, project).await?;
        let issuer = self.settings.external_url.clone();
        let now = self.now() / 1000;
        let limit = match job.timeout.map(|own| i64::try_from(own.as_secs()).unwrap_or(i64::MAX)) {
            Some(own) => own,
            None if project.settings.build_timeout > 0 => project.settings.build_timeout,
            None => 3600,
        };
        let sign = move || -> Result<Vec<Variable>, KeyError> {
            wanted.iter().map(|token| signed(&key, &issuer, token, &about, now, limit)).collect()
        };
        waiting(sign).await?.map_err(|error| {
            tracing::error!(error = %error, "an id token cannot be signed");
            MakeError::Compiler
        })
    }

    /// What is said of a job, the same in all its tokens.
    async fn about(&self, claim: &Claim, project: &ProjectView) -> Result<Map<String, Value>, DatabaseError> {
        let pipeline = &claim.pipeline;
        let (kind, place) = if pipeline.tag { ("tag", "tags") } else { ("branch", "heads") };
        // A merge request's pipeline speaks for its source branch.
        let git_ref = &pipeline.facts.commit.git_ref;
        let ref_path = match &pipeline.facts.merge_request {
            Some(request) => request.ref_path(),
            None => format!("refs/{place}/{git_ref}"),
        };
        let namespace = project.path.rsplit_once('/').map_or("", |(namespace, _)| namespace);
        let mut out = Map::new();
        let mut put = |key: &str, value: Value| {
            out.insert(key.to_owned(), value);
        };
        put("sub", json!(format!("project_path:{}:ref_type:{kind}:ref:{git_ref}", project.path)));
        // Numbers are texts, as GitLab has them.
        put("namespace_id", json!(project.namespace.to_string()));
        put("namespace_path", json!(namespace));
        put("project_id", json!(project.id.to_string()));
        put("project_path", json!(project.path));
        if let Some(id) = pipeline.user
            && let Ok(user) = self.store.user(id).await
        {
            let level = self.store.access(project.id, user.id).await?;
            put("user_id", json!(user.id.to_string()));
            put("user_login", json!(user.username));
            put("user_email", json!(user.email));
            put("user_access_level", json!(level.map(level_word)));
        }
        put("pipeline_id", json!(pipeline.id.to_string()));
        put("pipeline_source", json!(pipeline.source));
        put("job_id", json!(claim.job.id.to_string()));
        put("ref", json!(git_ref));
        put("ref_type", json!(kind));
        put("ref_path", json!(ref_path));
        put("ref_protected", json!(pipeline.protected.to_string()));
        put("runner_id", json!(claim.runner.id));
        let environment = match claim.runner.offer.reach {
            Reach::Instance => "gitlab-hosted",
            Reach::Projects(_) => "self-hosted",
        };
        put("runner_environment", json!(environment));
        put("sha", json!(pipeline.sha));
        put("project_visibility", json!(project.visibility));
        // The configuration of a child pipeline is no file of its own.
        if pipeline.source != "parent_pipeline" {
            let server = self.settings.external_url.split_once("://").map_or("", |(_, rest)| rest);
            let file = project.ci_config_path();
            put("ci_config_ref_uri", json!(format!("{server}/{}//{file}@{ref_path}", project.path)));
            put("ci_config_sha", json!(pipeline.sha));
        }
        let job = claim.config.job(JobId(claim.job.position));
        if let (Some(name), Some(written)) = (&claim.job.environment, &job.environment) {
            let tier = match &written.deployment_tier {
                Some(tier) => tier.clone(),
                None => environment_tier(name).to_owned(),
            };
            let action = match written.action {
                EnvironmentAction::Start => "start",
                EnvironmentAction::Stop => "stop",
                EnvironmentAction::Prepare => "prepare",
                EnvironmentAction::Verify => "verify",
                EnvironmentAction::Access => "access",
            };
            put("environment", json!(name));
            put("environment_protected", json!("false"));
            put("deployment_tier", json!(tier));
            put("environment_action", json!(action));
        }
        Ok(out)
    }
}

fn level_word(level: AccessLevel) -> &'static str {
    match level {
        AccessLevel::Guest => "guest",
        AccessLevel::Reporter => "reporter",
        AccessLevel::Developer => "developer",
        AccessLevel::Maintainer => "maintainer",
        AccessLevel::Owner => "owner",
    }
}

/// One token. `limit`: seconds the job may run.
fn signed(
    key: &SigningKey,
    issuer: &str,
    token: &IdToken,
    about: &Map<String, Value>,
    now: i64,
    limit: i64,
) -> Result<Variable, KeyError> {
    let mut claims = about.clone();
    let audience = match token.aud.as_slice() {
        [one] if token.single => json!(one),
        list => json!(list),
    };
    claims.insert("iss".into(), json!(issuer));
    claims.insert("aud".into(), audience);
    claims.insert("iat".into(), json!(now));
    claims.insert("nbf".into(), json!(now - EARLIER));
    claims.insert("exp".into(), json!(now.saturating_add(limit.max(LEAST))));
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| KeyError::Making("no random numbers".into()))?;
    let unique = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    claims.insert("jti".into(), json!(unique));
    Ok(Variable::internal(&token.name, key.sign(&claims)?).raw().masked())
}

/// `GET /.well-known/openid-configuration`
pub(crate) async fn configuration(State(app): State<Arc<App>>) -> Response {
    let url = &app.settings.external_url;
    let claims = [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "namespace_id",
        "namespace_path",
        "project_id",
        "project_path",
        "user_id",
        "user_login",
        "user_email",
        "user_access_level",
        "pipeline_id",
        "pipeline_source",
        "job_id",
        "ref",
        "ref_type",
        "ref_path",
        "ref_protected",
        "runner_id",
        "runner_environment",
        "sha",
        "project_visibility",
        "ci_config_ref_uri",
        "ci_config_sha",
        "environment",
        "environment_protected",
        "deployment_tier",
        "environment_action",
    ];
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/oauth/discovery/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": claims,
    }))
    .into_response()
}

/// `GET /oauth/discovery/keys`
pub(crate) async fn keys(State(app): State<Arc<App>>) -> Response {
    match app.signing_key().await {
        Ok(key) => Json(json!({ "keys": [key.public()] })).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "the keys of id tokens cannot be shown");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
