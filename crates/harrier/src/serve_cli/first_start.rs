//! What the first start of a server makes: the administrator `root`, whose password is set by a link that is good once.

use super::ServeError;
use harrier_base::Secret;
use harrier_coordinator::App;
use harrier_database::{NewToken, NewUser, Store, TokenKind, UserView};

/// How long the link is good, in milliseconds.
const LINK: i64 = 24 * 3_600_000;

/// Makes `root` where there is nobody. Gives the link while the password is not set.
pub async fn administrator(app: &App) -> Result<Option<String>, ServeError> {
    let (root, password) = match app.store.user_named("root").await? {
        Some(found) => found,
        None if app.store.users().await?.is_empty() => {
            let new = NewUser {
                username: "root".into(),
                name: "Administrator".into(),
                email: "root@localhost".into(),
                password: None,
                admin: true,
            };
            (app.store.create_user(new, app.now()).await?, None)
        }
        None => return Ok(None),
    };
    if password.is_some() {
        return Ok(None);
    }
    let token = link_token(&app.store, &root, app.now()).await?;
    Ok(Some(format!("{}/-/setup/{}", app.settings.external_url, token.expose())))
}

/// The secret of a link that sets a user's password, once.
pub async fn link_token(store: &Store, user: &UserView, now: i64) -> Result<Secret, ServeError> {
    let new = NewToken {
        kind: TokenKind::Session,
        user: Some(user.id),
        project: None,
        name: "password link".into(),
        scopes: Vec::new(),
        access_level: None,
        expires_at: Some(now + LINK),
    };
    Ok(store.create_token(new, now).await?.1)
}
