//! Which addresses may be connected to for a remote include. Pure. A name is resolved once, every address it has is
//! asked about here, and the connection is made to one of those (`http`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A rule about addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    inside: bool,
    allowed: Vec<Network>,
}

impl AddressPolicy {
    /// Public addresses only: for a server, whose users must not reach what lies inside of its network.
    pub fn strict() -> Self {
        Self { inside: false, allowed: Vec::new() }
    }

    /// Loopback and private addresses too: for a person on their own machine. The addresses at which clouds hand
    /// out credentials stay forbidden, because an included file may come from somebody else.
    pub fn own_machine() -> Self {
        Self { inside: true, allowed: Vec::new() }
    }

    /// As this one, and everything in `network`.
    pub fn allowing(mut self, network: Network) -> Self {
        self.allowed.push(network);
        self
    }

    /// Whether an address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        // The same machine is reached by each of the forms.
        let forms = [Some(address), embedded(address).map(IpAddr::V4)];
        if self.allowed.iter().any(|network| forms.iter().flatten().all(|form| network.holds(*form))) {
            return true;
        }
        forms.into_iter().flatten().all(|form| match kind(form) {
            Kind::Public => true,
            Kind::Inside => self.inside,
            Kind::Never => false,
        })
    }
}

/// Addresses with a common beginning: `10.0.0.0/8`, `fd00::/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a network; write it as 10.0.0.0/8, fd00::/8 or one address", self.0)
    }
}

impl std::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let bad = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| bad())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.trim().parse().map_err(|_| bad()))?;
        if bits > most { Err(bad()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                within(u32::from(network).into(), u32::from(address).into(), 32 - u32::from(self.bits))
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                within(network.into(), address.into(), 128 - u32::from(self.bits))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn within(network: u128, address: u128, free: u32) -> bool {
    free >= 128 || network >> free == address >> free
}

enum Kind {
    Public,
    /// This machine and private networks.
    Inside,
    /// No place for a file: metadata of clouds, link-local, multicast, reserved.
    Never,
}

/// Where clouds hand out credentials, outside of the link-local addresses.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

fn v4(address: Ipv4Addr) -> Kind {
    if METADATA_V4.contains(&address) {
        return Kind::Never;
    }
    match address.octets() {
        [10, ..] | [127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Kind::Inside,
        [0, 0, 0, 0] => Kind::Inside,
        [0, ..]
        | [169, 254, ..]
        | [192, 0, 0, _]
        | [192, 0, 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => Kind::Never,
        _ => Kind::Public,
    }
}

fn v6(address: Ipv6Addr) -> Kind {
    if METADATA_V6.contains(&address) {
        return Kind::Never;
    }
    if address.is_loopback() || address.is_unspecified() {
        return Kind::Inside;
    }
    if embedded(IpAddr::V6(address)).is_some() {
        // The address within decides.
        return Kind::Public;
    }
    match address.segments() {
        // Unique local.
        [0xfc00..=0xfdff, ..] => Kind::Inside,
        // Global unicast without documentation (2001:db8, 3fff) and the protocol addresses of 2001:0..1ff, Teredo
        // among them.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Kind::Never,
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Never,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 and 6to4.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let of = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &AddressPolicy, text: &str) -> bool {
        policy.permits(text.parse().expect("an address"))
    }

    #[test]
    fn table() {
        let (strict, own) = (AddressPolicy::strict(), AddressPolicy::own_machine());
        for (text, by_strict, by_own) in [
            ("93.184.216.34", true, true),
            ("2606:2800:220:1::1", true, true),
            ("127.0.0.1", false, true),
            ("127.8.9.1", false, true),
            ("0.0.0.0", false, true),
            ("10.1.2.3", false, true),
            ("172.16.0.1", false, true),
            ("172.32.0.1", true, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("::1", false, true),
            ("::", false, true),
            ("fd12::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("::ffff:93.184.216.34", true, true),
            ("::7f00:1", false, true),
            ("64:ff9b::10.0.0.1", false, true),
            ("2002:0a00:0001::1", false, true),
            ("2002:5db8:d822::1", true, true),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("2002:a9fe:a9fe::1", false, false),
            ("169.254.1.1", false, false),
            ("100.100.100.200", false, false),
            ("192.0.0.192", false, false),
            ("168.63.129.16", false, false),
            ("fd00:ec2::254", false, false),
            ("fd20:ce::254", false, false),
            ("fe80::1", false, false),
            ("ff02::1", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("0.1.2.3", false, false),
            ("198.18.0.1", false, false),
            ("2001::1", false, false),
            ("2001:db8::1", false, false),
            ("64:ff9b:1::1", false, false),
        ] {
            assert_eq!(permits(&strict, text), by_strict, "strict {text}");
            assert_eq!(permits(&own, text), by_own, "own machine {text}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let ten = "10.1.0.0/16".parse().expect("a network");
        let policy = AddressPolicy::strict().allowing(ten);
        assert!(permits(&policy, "10.1.255.1") && !permits(&policy, "10.2.0.1"));
        assert!(!permits(&policy, "::ffff:10.1.0.1"), "only as it is written");
        let one = "::1".parse().expect("a network");
        assert!(permits(&AddressPolicy::strict().allowing(one), "::1"));
        for bad in ["10.0.0.0/33", "x", "10.0.0.0/", "::/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
