//! The description of the API (OpenAPI 3.1) made of the table of routes and the shapes of their answers; `docs/openapi.json` is this text. Called by the test that
//! compares them, which writes the file when it is asked to.

use super::shapes;
use super::table::{Need, Reach, Route, routes};
use serde_json::{Map, Value, json};

/// Names in `{…}` of a path.
fn named(path: &str) -> Vec<&str> {
    let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    parts.map(|name| name.trim_end_matches('*')).collect()
}

fn parameter(name: &str, place: &str) -> Value {
    let number = matches!(name, "page" | "per_page");
    json!({
        "name": name,
        "in": place,
        "required": place == "path",
        "schema": if number { json!({ "type": "integer", "minimum": 1 }) } else { json!({}) },
    })
}

fn who(need: Need) -> String {
    match need {
        Need::Anyone => "everyone".to_owned(),
        Need::Known => "every user and project token".to_owned(),
        Need::Code => "everyone who may fetch the repository".to_owned(),
        Need::User => "every user".to_owned(),
        Need::Admin => "administrators".to_owned(),
        Need::Job => "a running job".to_owned(),
        Need::Level(level) => format!("{level:?} of the project and above").to_lowercase(),
    }
}

fn operation(route: &Route) -> Value {
    let (scope, job) = match route.reach {
        Reach::Scope(scope) | Reach::ScopeOrWebhook(scope) => (scope, false),
        Reach::ScopeOrJob(scope) => (scope, true),
    };
    let mut parameters: Vec<Value> =
        named(route.path).into_iter().map(|name| parameter(name, "path")).collect();
    let list = route.parameters.contains(&"page");
    let mut operation = json!({
        "summary": route.summary,
        "description": format!("For {}.", who(route.need)),
        "responses": {
            (route.status.to_string()): {
                "description": if route.status == 204 { "Done" } else { "The answer" },
            },
            "default": { "$ref": "#/components/responses/Refusal" },
        },
        "security": match (route.need, job) {
            (Need::Job, _) => json!([{ "job_token": [] }]),
            _ if matches!(route.reach, Reach::ScopeOrWebhook(_)) => {
                json!([{ "private_token": [scope.word()] }, { "webhook": [] }])
            }
            (Need::Anyone, _) => json!([{}, { "private_token": [scope.word()] }]),
            (_, true) => json!([{ "private_token": [scope.word()] }, { "job_token": [] }]),
            (_, false) => json!([{ "private_token": [scope.word()] }]),
        },
    });
    if let Some(content) = shapes::content(route.method.as_str(), route.path) {
        operation["responses"][route.status.to_string()]["content"] = content;
    }
    let given: Vec<&str> = route.parameters.iter().copied().filter(|name| *name != "page").collect();
    if route.method == axum::http::Method::GET || route.method == axum::http::Method::DELETE {
        parameters.extend(given.iter().map(|name| parameter(name, "query")));
        if list {
            parameters.extend(["page", "per_page"].map(|name| parameter(name, "query")));
        }
    } else if !given.is_empty() {
        let members: Map<String, Value> = given.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        let schema = json!({ "schema": { "type": "object", "properties": members } });
        operation["requestBody"] = json!({
            "content": {
                "application/json": schema,
                "application/x-www-form-urlencoded": schema,
                "multipart/form-data": schema,
            },
        });
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    operation
}

/// The whole description.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let path = format!("/{}", route.path.replace("*}", "}"));
        let place = paths.entry(path).or_insert_with(|| json!({}));
        place[route.method.as_str().to_ascii_lowercase()] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Harrier: the part of GitLab's REST API v4 that scripts use",
            "version": "v4",
            "description": "A project's `id` is its number or its path with `%2F` for `/`. Parameters come in the query, as a \
                form or as JSON. Lists are paged by `page` and `per_page` (20, at most 100) with GitLab's headers.",
        },
        "servers": [{ "url": "/api/v4" }],
        "paths": paths,
        "components": {
            "schemas": shapes::schemas(),
            "responses": {
                "Refusal": {
                    "description": "Why not: under `message`, or under `error` for a parameter that is wrong",
                    "content": { "application/json": { "schema": { "type": "object" } } },
                },
            },
            "securitySchemes": {
                "private_token": { "type": "apiKey", "in": "header", "name": "PRIVATE-TOKEN" },
                "job_token": { "type": "apiKey", "in": "header", "name": "JOB-TOKEN" },
                "webhook": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Gitlab-Token",
                    "description": "The mirror's secret; or a signature with it in X-Hub-Signature-256 or X-Gitea-Signature",
                },
            },
        },
    })
}
