//! Who asks: sessions, personal and project tokens, passwords. Called by the REST API, git and the pages; the runner API has
//! tokens of its own.
