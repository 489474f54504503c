//! `check_image` against Debian's registry with a password, plain and with TLS, and against a registry with a token
//! server.

mod private;
mod tokens;

use harrier_base::Secret;
use harrier_docker::{Answer, ImageCheck, ImageName, RegistrySettings, check_image};
use private::{PrivateRegistry, is_root};
use std::path::{Path, PathBuf};
use tokens::TokenRegistry;

fn config(registry: &str, login: &str) -> Option<Secret> {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(login);
    Some(Secret::new(serde_json::json!({ "auths": { registry: { "auth": auth } } }).to_string()))
}

async fn check(image: &str, config: Option<Secret>, certificates: &Path) -> ImageCheck {
    let settings = RegistrySettings { certificates: certificates.to_owned(), insecure: Vec::new() };
    let image = ImageName::parse(image).expect("a name");
    check_image(&image, config, None, &settings).await.expect("a sound configuration")
}

#[tokio::test]
async fn a_registry_with_a_password() {
    assert!(is_root(), "a private registry is installed and started as root; run this test as root");
    let registry = PrivateRegistry::start("tls");
    registry.put_image("group/app", "1").await;
    let none = Path::new("/nonexistent");
    let plain = &registry.plain;
    let right = format!("harrier:{}", registry.password);
    let image = format!("{plain}/group/app:1");

    let found = check(&image, config(plain, &right), none).await;
    assert_eq!(found.asked.url, format!("http://{plain}/v2/group/app/manifests/1"));
    assert!(
        matches!(&found.asked.answer, Answer::Found { digest: Some(d), asked_for_login: true } if d.starts_with("sha256:")),
        "{:?}",
        found.asked.answer
    );
    assert_eq!(found.fix, None);
    let chosen = found.choice.login.expect("chosen");
    assert_eq!(
        (chosen.0.username.as_str(), chosen.1.as_str()),
        ("harrier", "the variable DOCKER_AUTH_CONFIG")
    );

    for (what, config) in [
        ("no login", None),
        ("wrong", config(plain, "harrier:wrong")),
        ("elsewhere", config("a.example", &right)),
    ] {
        let refused = check(&image, config, none).await;
        let Answer::Refused(said) = &refused.asked.answer else {
            panic!("{what}: {:?}", refused.asked.answer)
        };
        assert_eq!((said.by.as_str(), said.status), (plain.as_str(), 401), "{what}");
        assert!(said.message.contains("authentication required"), "{what}: {}", said.message);
        assert!(refused.fix.is_some(), "{what}");
    }
    for missing in ["group/app:2", "group/none:1"] {
        let answer = check(&format!("{plain}/{missing}"), config(plain, &right), none).await.asked.answer;
        assert!(matches!(&answer, Answer::NotFound(said) if said.status == 404), "{missing}: {answer:?}");
    }

    // The same images with a certificate of an authority of its own.
    let tls = &registry.tls;
    let image = format!("{tls}/group/app:1");
    let untrusted = check(&image, config(tls, &right), none).await;
    assert!(
        matches!(untrusted.asked.answer, Answer::Unreachable { certificate: true, .. }),
        "{:?}",
        untrusted.asked.answer
    );
    assert!(untrusted.fix.expect("not all is well").contains(&format!("/etc/docker/certs.d/{tls}/ca.crt")));
    let trusting = registry.certificates();
    let found = check(&image, config(tls, &right), &trusting).await;
    assert!(matches!(found.asked.answer, Answer::Found { .. }), "{:?}", found.asked.answer);
    assert!(found.asked.url.starts_with("https://"));

    let (plain, image) = (plain.clone(), format!("{plain}/group/app:1"));
    drop(registry);
    let gone = check(&image, config(&plain, &right), none).await.asked.answer;
    assert!(matches!(&gone, Answer::Unreachable { at, certificate: false, .. } if *at == plain), "{gone:?}");
}

#[tokio::test]
async fn a_registry_with_a_token_server() {
    let registry = TokenRegistry::start().await;
    let address = &registry.address;
    let none = PathBuf::from("/nonexistent");
    let private = format!("{address}/group/app:1");
    let public = format!("{address}/public/app:1");
    let identity = Some(Secret::new(
        serde_json::json!({ "auths": { address: { "identitytoken": "an-identity" } } }).to_string(),
    ));

    for (image, config) in [
        (&private, config(address, "bob:pa:ss")),
        (&private, identity),
        // Without a log-in a token server gives a token that reads what is public.
        (&public, None),
        (&public, config(address, "bob:pa:ss")),
    ] {
        let answer = check(image, config, &none).await.asked.answer;
        let digest = Some("sha256:00".to_owned());
        assert_eq!(answer, Answer::Found { digest, asked_for_login: true }, "{image}");
    }
    // Also a public image is not given to a wrong password.
    for image in [&private, &public] {
        let refused = check(image, config(address, "bob:wrong"), &none).await.asked.answer;
        let Answer::Refused(said) = refused else { panic!("{refused:?}") };
        assert_eq!(said.to_string(), format!("{address} answered 401: UNAUTHORIZED: access denied"));
    }
    let anonymous = check(&private, None, &none).await;
    assert!(matches!(&anonymous.asked.answer, Answer::Refused(said) if said.status == 401));
    assert!(anonymous.fix.expect("not all is well").contains("docker login"));

    let page = check(&format!("{address}/page/app:1"), None, &none).await.asked.answer;
    assert!(matches!(&page, Answer::Unexpected(said) if said.message.contains("no manifest")), "{page:?}");
}
