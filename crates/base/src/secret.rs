//! A value that cannot be printed. Every token and password travels as a [`Secret`] from the edge that parsed
//! it to the edge that needs it; it has no `Debug`, `Display` or `Serialize`.

use zeroize::Zeroize;

/// A secret string; wiped from memory when dropped.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Only for the place that sends it where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// For `#[serde(with = "harrier_base::exposed")]`: a wire or file type that really carries the secret says so
/// field by field. Reads `null` as empty.
pub mod exposed {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the value in clear.
    pub fn serialize<S: Serializer>(value: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.expose())
    }

    /// Reads a string or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        Ok(Secret::new(Option::<String>::deserialize(from)?.unwrap_or_default()))
    }
}

/// As [`exposed`], for `Option<Secret>`.
pub mod exposed_opt {
    use super::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the value in clear, or `null`.
    pub fn serialize<S: Serializer>(value: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Secret::expose).serialize(to)
    }

    /// Reads a string or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}
