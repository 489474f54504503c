//! What can go wrong with the tables. Called by everything here; the coordinator maps it to answers.

/// A call of [`crate::Store`] failed; nothing of it was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is no such row, or the caller may not know of it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The state that the transition starts from is not the one it is in.
    #[error("{what} is {is}; {hint}")]
    Conflict {
        /// Which thing.
        what: String,
        /// Its state.
        is: String,
        /// What would be needed.
        hint: &'static str,
    },
    /// Something of that name is there already.
    #[error("{what} `{name}` exists already; choose another name")]
    Taken {
        /// Which kind of thing.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The tables were written by a newer program.
    #[error(
        "the database has version {found} and this program knows {known}; start the newer program, or restore the \
         backup made before the upgrade"
    )]
    Newer {
        /// Of the tables.
        found: i64,
        /// Of the program.
        known: i64,
    },
    /// The address of the database cannot be used.
    #[error("the database {place} cannot be opened: {message}")]
    Open {
        /// Path, or address without its password.
        place: String,
        /// Why.
        message: String,
    },
    /// The database refused a statement.
    #[error("the database failed: {message}")]
    Failed {
        /// What it said.
        message: String,
    },
    /// A column holds what nobody wrote there.
    #[error("the database holds {found} where {wanted} belongs; was it changed by hand?")]
    Damaged {
        /// What was expected.
        wanted: &'static str,
        /// What is there, never a secret.
        found: String,
    },
    /// A sealed value cannot be opened.
    #[error("a value cannot be decrypted; does secret.key belong to this database?")]
    Sealed,
    /// The store is shut.
    #[error("the database is being closed")]
    Closed,
}

/// What every call here gives.
pub type Result<T> = std::result::Result<T, DatabaseError>;
