//! What the server says of itself.

use super::call::{Call, Done, Reply};
use serde_json::json;

pub(super) async fn version(call: Call) -> Done {
    let facts = call.app.server_facts();
    Ok(Reply::Json(json!({ "version": facts.version, "revision": facts.revision })))
}

pub(super) async fn metadata(call: Call) -> Done {
    let facts = call.app.server_facts();
    Ok(Reply::Json(json!({
        "version": facts.version,
        "revision": facts.revision,
        "kas": { "enabled": false, "externalUrl": null, "version": null },
        "enterprise": false,
    })))
}
