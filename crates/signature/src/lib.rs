//! Signatures of requests to stores that speak S3 (AWS Signature Version 4): as headers of a request, or inside an address that
//! somebody without credentials may use for a while. Pure: time and keys are given. Called by the coordinator's storage; sends
//! nothing.

mod address;
mod encoding;
mod signing;

pub use address::{Addressing, ObjectAddress};
pub use signing::{Credentials, EMPTY_PAYLOAD, Request, Signer, UNSIGNED_PAYLOAD, sha256_hex};
