//! A registry that wants a token of its token server, as most public ones do. Knows the user `bob` with the password
//! `pa:ss`, and one identity token.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};

pub struct TokenRegistry {
    pub address: String,
    server: tokio::task::JoinHandle<()>,
}

impl TokenRegistry {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let routes = Router::new()
            .route("/v2/{group}/{name}/manifests/{reference}", get(manifest))
            .route("/token", get(token).post(refreshed))
            .with_state(address.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { address, server }
    }
}

impl Drop for TokenRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn refuse() -> Response {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"access denied"}]}"#;
    (StatusCode::UNAUTHORIZED, body).into_response()
}

async fn manifest(
    State(address): State<String>,
    Path((group, name, _)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if group == "page" {
        return ([(header::CONTENT_TYPE, "text/html")], "<p>Hello</p>").into_response();
    }
    let scope = format!("repository:{group}/{name}:pull");
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let reader = given == Some(&format!("Bearer for-{scope}"));
    let anyone = given == Some("Bearer anonymous") && group == "public";
    if reader || anyone {
        return [("docker-content-digest", "sha256:00")].into_response();
    }
    let challenge =
        format!(r#"Bearer realm="http://{address}/token",service="the registry",scope="{scope}""#);
    let mut answer = refuse();
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().expect("a header"));
    answer
}

fn wanted(parameters: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://form/?{parameters}")).expect("a query");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let get = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    assert_eq!(get("service").as_deref(), Some("the registry"));
    get("scope").expect("a scope")
}

async fn token(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let scope = wanted(&query.unwrap_or_default());
    match headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()) {
        None => axum::Json(serde_json::json!({ "token": "anonymous" })).into_response(),
        // bob:pa:ss
        Some(b"Basic Ym9iOnBhOnNz") => {
            axum::Json(serde_json::json!({ "token": format!("for-{scope}") })).into_response()
        }
        Some(_) => refuse(),
    }
}

async fn refreshed(body: String) -> Response {
    let scope = wanted(&body);
    assert!(body.contains("grant_type=refresh_token"), "{body}");
    if body.contains("refresh_token=an-identity") {
        axum::Json(serde_json::json!({ "access_token": format!("for-{scope}") })).into_response()
    } else {
        refuse()
    }
}
