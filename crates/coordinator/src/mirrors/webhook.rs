//! Who asks from outside for a fetch, and shows that they may: webhooks in the forms of GitHub (`X-Hub-Signature-256`), Gitea and its
//! relatives (`X-Gitea-Signature`, HMAC-SHA256 of the body in hex) and GitLab (`X-Gitlab-Token`, the secret itself). Pure; called by
//! `rest/mirror.rs`. Of the body nothing is used but for its signature.

use crate::web::table::same;
use axum::http::HeaderMap;
use harrier_base::Secret;
use harrier_database::token_hash;
use ring::hmac;

/// What a webhook shows.
pub(crate) enum Shown {
    /// The signature of the body, in hex.
    Signature(String),
    /// The secret.
    Token(Secret),
}

/// What it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Refs may have moved.
    Fetch,
    /// Whether somebody is here.
    Ping,
    /// Nothing of ours.
    Other,
}

const SIGNATURES: [&str; 4] =
    ["x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature", "x-gogs-signature"];

/// What a request shows; `None`: it is no webhook.
pub(crate) fn shown(headers: &HeaderMap) -> Option<Shown> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(signature) = SIGNATURES.iter().find_map(|name| text(name)) {
        let hex = signature.strip_prefix("sha256=").unwrap_or(signature);
        return Some(Shown::Signature(hex.to_owned()));
    }
    if let Some(token) = text("x-gitlab-token") {
        return Some(Shown::Token(Secret::new(token)));
    }
    // A webhook that was set up without the secret, or with a signature that is too weak, shows nothing.
    let webhook = ["x-github-event", "x-gitlab-event", "x-gitea-event", "x-hub-signature"];
    webhook.iter().any(|name| headers.contains_key(*name)).then(|| Shown::Signature(String::new()))
}

/// Whether what is shown is right; compared without telling by time how much of it is.
pub(crate) fn right(shown: &Shown, secret: &Secret, body: &[u8]) -> bool {
    match shown {
        Shown::Signature(hex) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
            bytes(hex).is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
        }
        Shown::Token(token) => same(&token_hash(token.expose()), &token_hash(secret.expose())),
    }
}

/// What a webhook asks for, from its headers alone.
pub(crate) fn event(headers: &HeaderMap) -> Event {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let names = ["x-github-event", "x-gitea-event", "x-forgejo-event", "x-gogs-event", "x-gitlab-event"];
    match names.iter().find_map(|name| text(name)).unwrap_or_default() {
        "ping" => Event::Ping,
        "push" | "create" | "delete" | "pull_request" | "pull_request_sync" => Event::Fetch,
        "Push Hook" | "Tag Push Hook" | "Merge Request Hook" | "System Hook" => Event::Fetch,
        _ => Event::Other,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits.chunks(2).map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// The example of GitHub's page on validating deliveries.
    const SECRET: &str = "It's a Secret to Everybody";
    const SIGNED: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_own_example_is_right() {
        let secret = Secret::new(SECRET);
        let check = |value: &str, body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-hub-signature-256", HeaderValue::from_str(value).expect("plain"));
            right(&shown(&headers).expect("a webhook"), &secret, body)
        };
        assert!(check(&format!("sha256={SIGNED}"), b"Hello, World!"));
        assert!(!check(&format!("sha256={SIGNED}"), b"Hello, World"));
        assert!(!check(&format!("sha256={}", SIGNED.replace('7', "8")), b"Hello, World!"));
        for bad in ["sha256=", "", "sha256=zz", "sha1=757107ea0eb2509fc211221cce984b8a37570b6d"] {
            assert!(!check(bad, b"Hello, World!"), "{bad}");
        }
    }

    #[test]
    fn each_form_is_known_and_none_passes_without_the_secret() {
        let secret = Secret::new(SECRET);
        let passes = |pairs: &[(&'static str, &'static str)]| {
            right(&shown(&headers(pairs)).expect("a webhook"), &secret, b"Hello, World!")
        };
        assert!(passes(&[("x-gitea-signature", SIGNED), ("x-gitea-event", "push")]));
        assert!(passes(&[("x-gitlab-token", SECRET), ("x-gitlab-event", "Push Hook")]));
        assert!(!passes(&[("x-gitlab-token", "It's a Secret"), ("x-gitlab-event", "Push Hook")]));
        assert!(!passes(&[("x-gitlab-token", "")]));
        assert!(!passes(&[("x-github-event", "push")]));
        assert!(!passes(&[("x-github-event", "push"), ("x-hub-signature", "sha1=00")]));
        // A signature counts before a token, so that two of which one is wrong do not pass.
        assert!(!passes(&[("x-gitea-signature", "00"), ("x-gitlab-token", SECRET)]));
        assert!(shown(&headers(&[("private-token", "x")])).is_none());
        for (name, value, event_is) in [
            ("x-github-event", "push", Event::Fetch),
            ("x-github-event", "ping", Event::Ping),
            ("x-github-event", "star", Event::Other),
            ("x-gitea-event", "pull_request", Event::Fetch),
            ("x-gitlab-event", "Tag Push Hook", Event::Fetch),
            ("x-gitlab-event", "Note Hook", Event::Other),
        ] {
            assert_eq!(event(&headers(&[(name, value)])), event_is, "{name}: {value}");
        }
    }
}
