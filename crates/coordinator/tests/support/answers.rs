//! Holds real answers against the description of the API. Each test file is a program of its own and uses a part of it.

#![allow(dead_code, clippy::unwrap_used)]

use crate::support::Server;
use harrier_base::Secret;
use harrier_coordinator::rest::openapi;
use reqwest::{Method, Response};
use serde_json::Value;
use std::sync::OnceLock;

/// The answer of a request that must be answered so.
pub async fn gives(
    server: &Server,
    method: Method,
    path: &str,
    token: &Secret,
    body: Value,
    status: u16,
) -> Value {
    let answer = ask(server, method.clone(), path, Some(token), body).await;
    let found = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{method} {path}: {text}");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    described(&method, path, found, &value);
    value
}

/// A good answer is as `docs/openapi.json` says.
pub fn described(method: &Method, path: &str, status: u16, answer: &Value) {
    if status < 300 && status != 204 {
        let wrong = differences(method.as_str(), path, answer);
        assert!(wrong.is_empty(), "see src/rest/shapes.rs: {wrong:#?}");
    }
}

/// Whatever is answered.
pub async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    token: Option<&Secret>,
    body: Value,
) -> Response {
    let mut call = server.call(method.clone(), path);
    if let Some(token) = token {
        call = call.header("PRIVATE-TOKEN", token.expose());
    }
    if method != Method::GET {
        call = call.json(&body);
    }
    call.send().await.unwrap()
}

/// What is not as `docs/openapi.json` says of this request's answer.
fn differences(method: &str, path: &str, answer: &Value) -> Vec<String> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    let document = DOCUMENT.get_or_init(openapi::document);
    let path = path.split('?').next().unwrap_or_default();
    let asked: Vec<&str> = path.trim_matches('/').split('/').collect();
    let fits = |route: &str| {
        let parts: Vec<&str> = route.trim_matches('/').split('/').collect();
        let same = parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked);
        // A path of a file goes on to the end.
        let deep = parts.last() == Some(&"{artifact_path}") && asked.len() > parts.len();
        let fixed = parts.iter().filter(|part| !part.starts_with('{')).count();
        (same && (parts.len() == asked.len() || deep)).then_some(fixed)
    };
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.filter_map(|(route, of)| Some((fits(route)?, of.get(method.to_lowercase())?)));
    let Some((_, operation)) = operations.max_by_key(|(fixed, _)| *fixed) else {
        return vec![format!("{method} {path} is not described")];
    };
    let good =
        operation["responses"].as_object().into_iter().flatten().find(|(status, _)| *status != "default");
    let Some(schema) = good.and_then(|(_, response)| response["content"].get("application/json")) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    compare(document, &format!("{method} {path}"), &schema["schema"], answer, &mut out);
    out
}

fn compare(document: &Value, at: &str, schema: &Value, found: &Value, out: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return compare(document, at, &document["components"]["schemas"][name], found, out);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        if !found.is_null() {
            compare(document, at, &any[0], found, out);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let is = |word: &&str| match *word {
        "integer" => found.is_i64(),
        "number" => found.is_number(),
        "boolean" => found.is_boolean(),
        "string" => found.is_string(),
        "null" => found.is_null(),
        "array" => found.is_array(),
        "object" => found.is_object(),
        other => panic!("{other} is no type"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return out.push(format!("{at} is no {types:?}: {found}"));
    }
    for (index, one) in found.as_array().into_iter().flatten().enumerate() {
        compare(document, &format!("{at}[{index}]"), &schema["items"], one, out);
    }
    let (Some(fields), Some(found)) = (schema["properties"].as_object(), found.as_object()) else { return };
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !found.contains_key(required) {
            out.push(format!("{at}.{required} is missing"));
        }
    }
    for (name, found) in found {
        match fields.get(name) {
            Some(schema) => compare(document, &format!("{at}.{name}"), schema, found, out),
            None => out.push(format!("{at}.{name} is not described: {found}")),
        }
    }
}
