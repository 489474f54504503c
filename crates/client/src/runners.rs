//! Runner identity: register, verify, unregister, token reset (`runner-api.md` §2).

use crate::transport::{Call, Client, PRIVATE_TOKEN, RUNNER_TOKEN};
use crate::{ClientError, answer::Answer};
use harrier_api::{DeleteRequest, RegisterRequest, RunnerIdentity, VerifyRequest};
use harrier_base::{Secret, exposed};
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::Serialize;

const JSON: &str = "application/json";

impl Client {
    /// `POST /runners` (§2.1). Only 201 is success.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RunnerIdentity, ClientError> {
        let call = Call::new(Method::POST, "runners")
            .token(RUNNER_TOKEN, &request.token)
            .header(ACCEPT, JSON, false)
            .json(request)?;
        wanted(&self.send(call).await?, 201)?.json()
    }

    /// `POST /runners/verify` (§2.3). Status 403 in the error means that the server does not know the token;
    /// every other error says nothing about it. Old servers answer without JSON: then the identity's id is 0
    /// and its token empty.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<RunnerIdentity, ClientError> {
        let call = Call::new(Method::POST, "runners/verify")
            .token(RUNNER_TOKEN, &request.token)
            .header(ACCEPT, JSON, false)
            .json(request)?;
        let answer = self.send(call).await?;
        self.remember_last_update(&request.token, &answer);
        let answer = wanted(&answer, 200)?;
        let json = answer.header("Content-Type").is_some_and(|t| t.starts_with(JSON));
        if json { answer.json() } else { Ok(RunnerIdentity::default()) }
    }

    /// `DELETE /runners` (§2.4), for tokens without the `glrt-` prefix.
    pub async fn unregister(&self, token: &Secret) -> Result<(), ClientError> {
        let request = DeleteRequest { token: token.clone(), system_id: String::new() };
        self.delete("runners", &request).await
    }

    /// `DELETE /runners/managers` (§2.5), for `glrt-` tokens.
    pub async fn unregister_manager(&self, token: &Secret, system_id: &str) -> Result<(), ClientError> {
        let request = DeleteRequest { token: token.clone(), system_id: system_id.to_owned() };
        self.delete("runners/managers", &request).await
    }

    /// `POST /runners/reset_authentication_token` (§2.6): a new token for `token`, which ends at once.
    pub async fn reset_token(&self, token: &Secret) -> Result<RunnerIdentity, ClientError> {
        #[derive(Serialize)]
        struct Reset<'a> {
            #[serde(with = "exposed")]
            token: &'a Secret,
        }
        let call = Call::new(Method::POST, "runners/reset_authentication_token")
            .header(ACCEPT, JSON, false)
            .json(&Reset { token })?;
        wanted(&self.send(call).await?, 201)?.json()
    }

    /// `POST /runners/:id/reset_authentication_token` (§2.6) with a personal access token.
    pub async fn reset_token_by_id(&self, id: i64, pat: &Secret) -> Result<RunnerIdentity, ClientError> {
        let call = Call::new(Method::POST, format!("runners/{id}/reset_authentication_token"))
            .token(PRIVATE_TOKEN, pat)
            .header(ACCEPT, JSON, false)
            .json(&())?;
        wanted(&self.send(call).await?, 201)?.json()
    }

    async fn delete(&self, path: &str, request: &DeleteRequest) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, path).token(RUNNER_TOKEN, &request.token).json(request)?;
        wanted(&self.send(call).await?, 204).map(|_| ())
    }
}

fn wanted(answer: &Answer, status: u16) -> Result<&Answer, ClientError> {
    if answer.status.as_u16() == status { Ok(answer) } else { Err(answer.error()) }
}
