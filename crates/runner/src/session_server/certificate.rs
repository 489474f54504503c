//! The session server's certificate: made at the start, signed by itself, for the one host that servers are told
//! (`runner-config.md` §10). They get it with each job request and trust it alone.
//!
//! X.509 as DER by hand (RFC 5280): a few fields that never vary do not pay for a library.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::ToSpan;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::net::IpAddr;

/// A certificate and its key.
pub(crate) struct OwnCertificate {
    /// DER
    pub certificate: Vec<u8>,
    /// PKCS #8, DER
    pub key: Vec<u8>,
}

impl OwnCertificate {
    /// For `host`, a name or an address, from the day before `now` on for ten years. The error is the system's or ring's word.
    pub fn new(host: &str, now: jiff::Timestamp) -> Result<Self, String> {
        let random = SystemRandom::new();
        let failed = |_| "the system gives no random numbers for a key".to_owned();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(failed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random)
            .map_err(|error| format!("a new key is refused: {error}"))?;
        let mut serial = [0; 16];
        random.fill(&mut serial).map_err(failed)?;
        // A positive number of always the same length.
        serial[0] = serial[0] & 0x7f | 0x40;
        let body = to_be_signed(host, now, &serial, pair.public_key().as_ref());
        let signature = pair.sign(&random, &body).map_err(failed)?;
        let certificate = sequence(&[&body, &algorithm(), &bits(signature.as_ref())]);
        Ok(Self { certificate, key: key.as_ref().to_vec() })
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem + "-----END CERTIFICATE-----\n"
    }
}

const ECDSA_WITH_SHA256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const PRIME256V1: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 4, 3];
const KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 3, 0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
const TRUE: &[u8] = &[0x01, 1, 0xff];
/// Version 3.
const VERSION: &[u8] = &[0xa0, 3, 0x02, 1, 2];
/// The bit `digitalSignature`.
const DIGITAL_SIGNATURE: &[u8] = &[0x03, 2, 7, 0x80];

fn to_be_signed(host: &str, now: jiff::Timestamp, serial: &[u8], public_key: &[u8]) -> Vec<u8> {
    let name = tlv(0x0c, &[b"Harrier session server"]);
    let name = sequence(&[&tlv(0x31, &[&sequence(&[COMMON_NAME, &name])])]);
    let today = now.to_zoned(jiff::tz::TimeZone::UTC);
    let from = today.checked_sub(1.day()).unwrap_or_else(|_| today.clone());
    let until = today.checked_add(10.years()).unwrap_or(today);
    let alternative = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => tlv(0x87, &[&ip.octets()]),
        Ok(IpAddr::V6(ip)) => tlv(0x87, &[&ip.octets()]),
        Err(_) => tlv(0x82, &[host.as_bytes()]),
    };
    let extension = |id: &[u8], critical: bool, value: &[u8]| {
        let critical = if critical { TRUE } else { &[] };
        sequence(&[id, critical, &tlv(0x04, &[value])])
    };
    let extensions = sequence(&[
        &extension(BASIC_CONSTRAINTS, true, &sequence(&[])),
        &extension(KEY_USAGE, true, DIGITAL_SIGNATURE),
        &extension(EXTENDED_KEY_USAGE, false, &sequence(&[SERVER_AUTH])),
        &extension(SUBJECT_ALT_NAME, false, &sequence(&[&alternative])),
    ]);
    sequence(&[
        VERSION,
        &tlv(0x02, &[serial]),
        &algorithm(),
        &name,
        &sequence(&[&time(&from), &time(&until)]),
        &name,
        &sequence(&[&sequence(&[EC_PUBLIC_KEY, PRIME256V1]), &bits(public_key)]),
        &tlv(0xa3, &[&extensions]),
    ])
}

fn algorithm() -> Vec<u8> {
    sequence(&[ECDSA_WITH_SHA256])
}

/// RFC 5280 §4.1.2.5: two digits for the year before 2050.
fn time(at: &jiff::Zoned) -> Vec<u8> {
    let (tag, format) = if at.year() < 2050 { (0x17, "%y%m%d%H%M%SZ") } else { (0x18, "%Y%m%d%H%M%SZ") };
    tlv(tag, &[at.strftime(format).to_string().as_bytes()])
}

/// A bit string of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], bytes])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

/// Tag, length, value.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let digits = &bytes[first..];
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_size() {
        for (length, head) in [
            (0, vec![4, 0]),
            (127, vec![4, 127]),
            (128, vec![4, 0x81, 128]),
            (255, vec![4, 0x81, 255]),
            (256, vec![4, 0x82, 1, 0]),
            (70_000, vec![4, 0x83, 1, 0x11, 0x70]),
        ] {
            let value = vec![7; length];
            let out = tlv(4, &[&value]);
            assert_eq!((&out[..head.len()], out.len() - head.len()), (head.as_slice(), length));
        }
    }

    #[test]
    fn years_have_two_digits_until_2050() {
        for (at, bytes) in [
            ("2026-11-25T04:05:06Z", &b"\x17\x0d261125040506Z"[..]),
            ("2050-01-01T00:00:00Z", &b"\x18\x0f20500101000000Z"[..]),
        ] {
            let at: jiff::Timestamp = at.parse().expect("a time");
            assert_eq!(time(&at.to_zoned(jiff::tz::TimeZone::UTC)), bytes);
        }
    }
}
