//! The ports that a rack binds on its node's own network.

use std::fmt;
use std::str::FromStr;

/// A port of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    number: u16,
    is_udp: bool,
}

impl Port {
    pub(crate) const fn new(number: u16, is_udp: bool) -> Self {
        Self { number, is_udp }
    }
}

/// DNS, DHCP, TFTP, and the images for machines.
pub(crate) const RACK: [Port; 5] = [
    Port::new(53, false),
    Port::new(53, true),
    Port::new(67, true),
    Port::new(69, true),
    Port::new(5248, false),
];

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", if self.is_udp { "udp" } else { "tcp" }, self.number)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no port such as udp/67 or tcp/5248");
        let (protocol, number) = text.split_once('/').ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        match protocol {
            "tcp" => Ok(Self::new(number, false)),
            "udp" => Ok(Self::new(number, true)),
            _ => Err(wrong()),
        }
    }
}

/// Which of `wanted` are bound, by the tables of Linux, `/proc/net/{tcp,tcp6,udp,udp6}`. What is
/// bound to the loopback alone is in nobody's way: a rack's servers bind the node's addresses.
pub(crate) fn bound(wanted: &[Port], tables: &[(bool, String)]) -> Vec<Port> {
    let mut found = Vec::new();
    for (is_udp, table) in tables {
        for line in table.lines().skip(1) {
            let Some((address, number)) = local(line, *is_udp) else { continue };
            let port = Port::new(number, *is_udp);
            if wanted.contains(&port) && !is_loopback(address) && !found.contains(&port) {
                found.push(port);
            }
        }
    }
    found.sort_unstable();
    found
}

/// The local address and port of a line that listens.
fn local(line: &str, is_udp: bool) -> Option<(&str, u16)> {
    /// The state of a TCP socket that listens; UDP sockets are all taken.
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let state = words.nth(1)?;
    (is_udp || state == LISTEN).then_some(())?;
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

/// Addresses are hexadecimal words in the machine's order of bytes.
fn is_loopback(address: &str) -> bool {
    match address.len() {
        8 => address.ends_with("7F"),
        _ => {
            address == "00000000000000000000000001000000"
                || address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue\n\
        0: 00000000:1480 00000000:0000 0A 00000000:00000000\n\
        1: 3500007F:0035 00000000:0000 0A 00000000:00000000\n\
        2: 0200C80A:0035 0100C80A:9C40 01 00000000:00000000\n";
    const UDP6: &str = "  sl  local_address remote_address st\n\
        0: 00000000000000000000000000000000:0043 00000000000000000000000000000000:0000 07\n\
        1: 00000000000000000000000001000000:0045 00000000000000000000000000000000:0000 07\n";

    #[test]
    fn what_listens_is_bound_unless_it_is_the_loopbacks() {
        let tables = [(false, TCP.to_owned()), (true, UDP6.to_owned())];
        let found: Vec<String> = bound(&RACK, &tables).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["udp/67", "tcp/5248"]);
    }

    #[test]
    fn ports_are_read_and_shown() {
        for text in ["udp/67", "tcp/5248"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        for text in ["", "67", "udp/0", "sctp/1", "udp/70000"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
