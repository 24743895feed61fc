//! APDUs of IEC 60870-5-104, clause 5.

use std::fmt;

/// First byte of every APDU.
const START: u8 = 0x68;
/// Number of control bytes, and the least length in an APDU.
const CONTROL: usize = 4;
/// The greatest length in an APDU.
const MAX_LENGTH: usize = 253;
/// Most bytes of an ASDU.
pub const MAX_ASDU: usize = MAX_LENGTH - CONTROL;
/// Number of send and receive numbers, which have 15 bits.
pub const NUMBERS: u16 = 0x8000;

/// Unnumbered control functions, by their control byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    StartAct = 0x07,
    StartCon = 0x0b,
    StopAct = 0x13,
    StopCon = 0x23,
    TestAct = 0x43,
    TestCon = 0x83,
}

impl Function {
    const ALL: [Function; 6] = [
        Function::StartAct,
        Function::StartCon,
        Function::StopAct,
        Function::StopCon,
        Function::TestAct,
        Function::TestCon,
    ];
}

/// One APDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apdu {
    /// I format: N(S), N(R) and an ASDU.
    Information {
        send: u16,
        receive: u16,
        asdu: Vec<u8>,
    },
    /// S format: N(R).
    Supervisory { receive: u16 },
    /// U format.
    Unnumbered(Function),
}

/// A violation of the standard by the other side; the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Apdu {
    /// Removes the first APDU from `bytes`; `None` if it is incomplete.
    pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, Violation> {
        let Some(start) = bytes.first() else {
            return Ok(None);
        };
        if *start != START {
            return Err(Violation(format!("an APDU starts with {start:#04x}")));
        }
        let Some(length) = bytes.get(1).map(|length| usize::from(*length)) else {
            return Ok(None);
        };
        if !(CONTROL..=MAX_LENGTH).contains(&length) {
            return Err(Violation(format!("an APDU of length {length}")));
        }
        if bytes.len() < 2 + length {
            return Ok(None);
        }
        let body: Vec<u8> = bytes.drain(..2 + length).skip(2).collect();
        decode(&body).map(Some)
    }

    /// Returns the APDU's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let number = |number: u16| (number << 1).to_le_bytes();
        let mut bytes = vec![START, CONTROL as u8];
        match self {
            Apdu::Information {
                send,
                receive,
                asdu,
            } => {
                bytes.extend(number(*send));
                bytes.extend(number(*receive));
                bytes.extend(asdu);
                // At most MAX_ASDU bytes, see asdu.rs.
                bytes[1] = (CONTROL + asdu.len()) as u8;
            }
            Apdu::Supervisory { receive } => {
                bytes.extend([1, 0]);
                bytes.extend(number(*receive));
            }
            Apdu::Unnumbered(function) => bytes.extend([*function as u8, 0, 0, 0]),
        }
        bytes
    }
}

fn decode(body: &[u8]) -> Result<Apdu, Violation> {
    let (control, asdu) = body.split_at(CONTROL);
    let number = |at: usize| u16::from_le_bytes([control[at], control[at + 1]]) >> 1;
    let wrong = || Violation(format!("an APDU with control bytes {control:02x?}"));
    match control[0] & 3 {
        0 | 2 if control[2] & 1 == 0 && !asdu.is_empty() => Ok(Apdu::Information {
            send: number(0),
            receive: number(2),
            asdu: asdu.to_vec(),
        }),
        1 if control[..2] == [1, 0] && control[2] & 1 == 0 && asdu.is_empty() => {
            Ok(Apdu::Supervisory { receive: number(2) })
        }
        3 if control[1..] == [0, 0, 0] && asdu.is_empty() => {
            let mut all = Function::ALL.into_iter();
            let function = all.find(|function| *function as u8 == control[0]);
            function.map(Apdu::Unnumbered).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apdus_are_on_the_wire_as_the_standard_has_them() {
        for (apdu, bytes) in [
            (
                Apdu::Unnumbered(Function::StartAct),
                &[0x68, 4, 7, 0, 0, 0][..],
            ),
            (
                Apdu::Unnumbered(Function::TestCon),
                &[0x68, 4, 0x83, 0, 0, 0],
            ),
            (Apdu::Supervisory { receive: 5 }, &[0x68, 4, 1, 0, 10, 0]),
            (
                Apdu::Information {
                    send: 0x7fff,
                    receive: 0x100,
                    asdu: vec![100, 1],
                },
                &[0x68, 6, 0xfe, 0xff, 0, 2, 100, 1],
            ),
        ] {
            assert_eq!(apdu.encode(), bytes);
            let mut stream = bytes.to_vec();
            stream.extend(bytes);
            assert_eq!(Apdu::take(&mut stream), Ok(Some(apdu)));
            assert_eq!(stream, bytes);
            for length in 0..bytes.len() {
                let mut part = bytes[..length].to_vec();
                assert_eq!(Apdu::take(&mut part), Ok(None));
                assert_eq!(part.len(), length);
            }
        }
    }

    #[test]
    fn nonsense_is_a_violation() {
        for bytes in [
            &[0x16, 4, 7, 0, 0, 0][..],
            &[0x68, 3, 7, 0, 0],
            &[0x68, 254],
            &[0x68, 4, 0x0f, 0, 0, 0],
            &[0x68, 4, 7, 0, 0, 1],
            &[0x68, 5, 7, 0, 0, 0, 0],
            &[0x68, 4, 0, 0, 0, 0],
            &[0x68, 5, 0, 0, 1, 0, 0],
            &[0x68, 4, 1, 1, 0, 0],
            &[0x68, 5, 1, 0, 0, 0, 0],
        ] {
            assert!(Apdu::take(&mut bytes.to_vec()).is_err(), "{bytes:02x?}");
        }
    }
}
