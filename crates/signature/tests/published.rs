//! The examples that Amazon publishes with its description of the signature, for S3 and for any service.

use harrier_base::Secret;
use harrier_signature::{Credentials, EMPTY_PAYLOAD, Request, Signer, UNSIGNED_PAYLOAD, sha256_hex};

/// 2013-05-24 00:00:00 UTC.
const AT: i64 = 1_369_353_600;
const HOST: &str = "examplebucket.s3.amazonaws.com";

fn signer() -> Signer {
    let credentials = Credentials {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    };
    Signer::s3(credentials, "us-east-1")
}

fn authorization(request: &Request<'_>, payload: &str) -> String {
    let headers = signer().headers(request, payload, AT);
    let found = headers.iter().find(|(name, _)| *name == "authorization");
    found.map(|(_, value)| value.expose().to_owned()).unwrap_or_default()
}

fn expected(names: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders={names}, \
         Signature={signature}"
    )
}

#[test]
fn a_part_of_an_object_is_fetched() {
    let headers = [("range", "bytes=0-9")];
    let request = Request { method: "GET", host: HOST, path: "/test.txt", query: &[], headers: &headers };
    assert_eq!(
        authorization(&request, EMPTY_PAYLOAD),
        expected(
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        )
    );
}

#[test]
fn an_object_is_put() {
    let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    let request =
        Request { method: "PUT", host: HOST, path: "/test$file.text", query: &[], headers: &headers };
    assert_eq!(
        authorization(&request, &sha256_hex(b"Welcome to Amazon S3.")),
        expected(
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        )
    );
}

#[test]
fn queries_are_signed_in_order() {
    for (query, signature) in [
        (&[("lifecycle", "")][..], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        (
            &[("prefix", "J"), ("max-keys", "2")],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let request = Request { method: "GET", host: HOST, path: "/", query, headers: &[] };
        let said = authorization(&request, EMPTY_PAYLOAD);
        assert_eq!(said, expected("host;x-amz-content-sha256;x-amz-date", signature));
    }
}

#[test]
fn an_address_carries_its_signature() {
    let request = Request { method: "GET", host: HOST, path: "/test.txt", query: &[], headers: &[] };
    let query = signer().presigned_query(&request, 86_400, AT);
    assert_eq!(
        query.expose(),
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
}

#[test]
fn temporary_credentials_send_and_sign_their_token() {
    let credentials = Credentials {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: Some(Secret::new("a+token/")),
    };
    let signer = Signer::s3(credentials, "us-east-1");
    let request = Request { method: "GET", host: HOST, path: "/", query: &[], headers: &[] };
    let headers = signer.headers(&request, UNSIGNED_PAYLOAD, AT);
    let value = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.expose().to_owned()).unwrap_or_default()
    };
    assert_eq!(value("x-amz-security-token"), "a+token/");
    assert!(value("authorization").contains(";x-amz-security-token,"));
    let query = signer.presigned_query(&request, 60, AT);
    assert!(query.expose().contains("X-Amz-Security-Token=a%2Btoken%2F&"));
}
