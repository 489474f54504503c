//! The decision about one image's credentials, tried at its registry without an engine, a pull or a job.
//!
//! Called by `harrier doctor image`. The decision is that of a pull: same sources, same choice.

use crate::auth::{AuthError, Choice, choose};
use crate::auth_sources::gather;
use crate::image_name::ImageName;
use crate::registry::{Answer, Asked, RegistrySettings, ask};
use harrier_base::Secret;
use harrier_plan::Auth;
use std::path::Path;

/// What was found out about one image.
pub struct ImageCheck {
    /// Which sources were looked at and what is used.
    pub choice: Choice,
    /// What the registry says to that.
    pub asked: Asked,
    /// What to do, unless all is well.
    pub fix: Option<String>,
}

/// Decides and asks.
///
/// `docker_auth_config` is the value of `DOCKER_AUTH_CONFIG` as a job would see it; `home` is where the runner's user has
/// Docker's configuration. The error is one that would fail a job, too.
pub async fn check_image(
    image: &ImageName,
    docker_auth_config: Option<Secret>,
    home: Option<&Path>,
    settings: &RegistrySettings,
) -> Result<ImageCheck, AuthError> {
    let sources = gather(&Auth { docker_auth_config, job: Vec::new() }, home).await?;
    let choice = choose(&sources, image);
    let asked = ask(image, choice.login.as_ref().map(|(login, _)| login), settings).await;
    let fix = fix(image, &choice, &asked.answer);
    Ok(ImageCheck { choice, asked, fix })
}

fn fix(image: &ImageName, choice: &Choice, answer: &Answer) -> Option<String> {
    let registry = &image.registry;
    let refused = |status: Option<u16>| match &choice.login {
        Some((login, origin)) if status == Some(403) => format!(
            "the user {:?} from {origin} may not pull {}: give it access there, or use another user's credentials",
            login.username, image.path
        ),
        Some((login, origin)) => format!(
            "the credentials of the user {:?} from {origin} were refused, or may not read {}: renew them there, and \
             check that the user may pull this repository",
            login.username, image.path
        ),
        None => format!(
            "no credentials were used; log in as the runner's user (docker login {registry}), or set the variable \
             DOCKER_AUTH_CONFIG to {{\"auths\": {{\"{registry}\": {{\"auth\": \"…\"}}}}}}, where … is what this prints: \
             printf '%s' 'user:password' | base64 -w0"
        ),
    };
    match answer {
        Answer::Found { .. } => None,
        Answer::Refused(said) => Some(refused(Some(said.status))),
        Answer::NotFound(_) => Some(match &choice.login {
            Some(_) => format!(
                "check the name and the tag; a registry may also hide {} from a user who may not pull it",
                image.path
            ),
            None => format!(
                "check the name and the tag; if {} is private, the registry may hide it: {}",
                image.path,
                refused(None)
            ),
        }),
        Answer::Unreachable { certificate: true, .. } => Some(format!(
            "put the certificate of the authority that signed the registry's into \
             /etc/docker/certs.d/{registry}/ca.crt on the engine's machine, or have the registry's certificate reissued"
        )),
        Answer::Unreachable { at, .. } => Some(format!(
            "check the image's name, the network and the proxy variables; is {at} the registry's address and port?{}",
            if registry == "docker.io" {
                " An image's name without a host in front means Docker Hub."
            } else {
                ""
            }
        )),
        Answer::Unexpected(said) => Some(match said.status {
            429 => {
                "the registry allows no more pulls for now: wait, or log in with a user that may pull more"
                    .to_owned()
            }
            500..=599 => format!("{} has a trouble of its own; try again, or see its log", said.by),
            _ => format!("is {} the address of a registry? See its log for this request", said.by),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Login;
    use crate::registry::Said;

    fn choice(user: Option<&str>) -> Choice {
        let login = user.map(|user| {
            let login =
                Login { username: user.to_owned(), password: Secret::new("s3cret"), identity_token: None };
            (login, "the file".to_owned())
        });
        Choice { login, looked_at: Vec::new(), problems: Vec::new() }
    }

    #[test]
    fn every_answer_has_its_fix() {
        let image = ImageName::parse("reg.example/group/app:1").expect("a name");
        let said = |status| Said { by: "reg.example".to_owned(), status, message: String::new() };
        let unreachable = |certificate| Answer::Unreachable {
            at: "reg.example".to_owned(),
            why: "x".to_owned(),
            certificate,
        };
        for (user, answer, part) in [
            (None, Answer::Refused(said(401)), "docker login reg.example"),
            (Some("bob"), Answer::Refused(said(401)), "\"bob\" from the file were refused"),
            (Some("bob"), Answer::Refused(said(403)), "\"bob\" from the file may not pull group/app"),
            (Some("bob"), Answer::NotFound(said(404)), "check the name and the tag"),
            (None, Answer::NotFound(said(404)), "docker login reg.example"),
            (None, unreachable(true), "/etc/docker/certs.d/reg.example/ca.crt"),
            (None, unreachable(false), "is reg.example the registry's address"),
            (None, Answer::Unexpected(said(429)), "no more pulls"),
            (None, Answer::Unexpected(said(503)), "trouble of its own"),
            (None, Answer::Unexpected(said(200)), "the address of a registry"),
        ] {
            let text = fix(&image, &choice(user), &answer).expect("not all is well");
            assert!(text.contains(part), "{answer:?}: {text}");
            assert!(!text.contains("s3cret"));
        }
        assert_eq!(fix(&image, &choice(None), &Answer::Found { digest: None, asked_for_login: false }), None);
    }
}
