//! Which answers the transport asks again for, and how long it waits (`runner-api.md` §1.7). Pure.

use reqwest::header::HeaderMap;
use std::time::{Duration, SystemTime};

/// Attempts in total, the first included.
pub(crate) const ATTEMPTS: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether this status is asked again for.
pub(crate) fn retriable(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 512..)
}

/// The wait before the next attempt; `tried` attempts are done, `chance` is within 0..1.
pub(crate) fn wait(headers: &HeaderMap, tried: u32, now: SystemTime, chance: f64) -> Duration {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let reset = text("RateLimit-ResetTime")
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .and_then(|until| until.duration_since(now).ok())
        .filter(|wait| !wait.is_zero());
    if let Some(wait) = reset {
        return wait;
    }
    if let Some(seconds) = text("Retry-After") {
        match seconds.parse::<u64>() {
            Ok(0) => {}
            Ok(seconds) => return Duration::from_secs(seconds),
            Err(_) => tracing::warn!(
                retry_after = seconds,
                "the server's Retry-After header is not a whole number of seconds; using our own back-off"
            ),
        }
    }
    let full = FIRST_WAIT.saturating_mul(1 << tried.saturating_sub(1).min(20)).min(LONGEST_WAIT);
    FIRST_WAIT + (full - FIRST_WAIT).mul_f64(chance.clamp(0.0, 1.0))
}

/// A number within 0..1 for the jitter.
pub(crate) fn chance() -> f64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    (high >> 20 & 0xFFFF_FFFF) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn the_set_of_statuses() {
        for status in [408, 429, 500, 502, 503, 504, 512, 520, 599] {
            assert!(retriable(status), "{status}");
        }
        for status in [200, 202, 204, 301, 400, 401, 403, 404, 409, 412, 416, 422, 501, 505, 511] {
            assert!(!retriable(status), "{status}");
        }
    }

    #[test]
    fn the_first_rule_with_a_positive_wait_wins() {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").expect("a date");
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (k.parse().expect("name"), HeaderValue::from_static(v))).collect()
        };
        let reset = ("ratelimit-resettime", "Tue, 24 Nov 2026 10:00:07 GMT");
        let past = ("ratelimit-resettime", "Tue, 24 Nov 2026 09:00:07 GMT");
        for (given, tried, chance, millis) in [
            (vec![reset, ("retry-after", "60")], 1, 0.0, 7_000),
            (vec![past, ("retry-after", "60")], 1, 0.0, 60_000),
            (vec![("retry-after", "Tue, 24 Nov 2026 10:00:07 GMT")], 1, 1.0, 100),
            (vec![("retry-after", "0")], 2, 1.0, 200),
            (vec![], 1, 0.5, 100),
            (vec![], 3, 0.5, 250),
            (vec![], 4, 1.0, 800),
            (vec![], 40, 1.0, 60_000),
        ] {
            assert_eq!(
                wait(&headers(&given), tried, now, chance),
                Duration::from_millis(millis),
                "{given:?}"
            );
        }
        assert!((0..1000).map(|_| super::chance()).all(|c| (0.0..=1.0).contains(&c)));
    }
}
