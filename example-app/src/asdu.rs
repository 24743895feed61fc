//! ASDUs: IEC 60870-5-101, clause 7, with the field lengths of IEC 60870-5-104, clause 7
//! (cause of transmission 2 bytes, common address 2, information object address 3).

use super::apdu::MAX_ASDU;
use super::points::{Points, Value};

/// Type identifications.
const M_SP_NA_1: u8 = 1;
const M_ME_NC_1: u8 = 13;
const C_IC_NA_1: u8 = 100;

/// Causes of transmission.
const ACTIVATION: u8 = 6;
const CONFIRMATION: u8 = 7;
const TERMINATION: u8 = 10;
const INTERROGATED: u8 = 20;
const UNKNOWN_TYPE: u8 = 44;
const UNKNOWN_CAUSE: u8 = 45;
const UNKNOWN_STATION: u8 = 46;
const UNKNOWN_OBJECT: u8 = 47;
/// The P/N bit: negative.
const NEGATIVE: u8 = 0x40;
/// Mask of the cause, without the bits for test and P/N.
const CAUSE: u8 = 0x3f;

/// Qualifier of interrogation: the whole station.
const QOI_STATION: u8 = 20;
/// The common address for all stations.
const BROADCAST: u16 = 0xffff;

/// Length of type, number of objects, cause, originator and common address.
const HEADER: usize = 6;
/// Length of an information object address.
const ADDRESS: usize = 3;

/// Returns the station's answers to an ASDU, in order.
pub fn answer(asdu: &[u8], station: u16, points: &Points) -> Vec<Vec<u8>> {
    // Too short for an answer; the receive number still counts it.
    if asdu.len() < HEADER + ADDRESS {
        return Vec::new();
    }
    let (kind, cause) = (asdu[0], asdu[2] & CAUSE);
    let addressed = u16::from_le_bytes([asdu[4], asdu[5]]);
    let refused = |cause| vec![mirrored(asdu, cause | NEGATIVE, addressed)];
    if addressed != station && addressed != BROADCAST {
        return refused(UNKNOWN_STATION);
    }
    if kind != C_IC_NA_1 {
        return refused(UNKNOWN_TYPE);
    }
    if cause != ACTIVATION {
        return refused(UNKNOWN_CAUSE);
    }
    if asdu[HEADER..HEADER + ADDRESS] != [0; ADDRESS] {
        return refused(UNKNOWN_OBJECT);
    }
    if asdu.get(HEADER + ADDRESS) != Some(&QOI_STATION) {
        // A group; the table has none.
        return vec![mirrored(asdu, CONFIRMATION | NEGATIVE, station)];
    }
    let mut answers = vec![mirrored(asdu, CONFIRMATION, station)];
    answers.extend(interrogated(asdu[3], station, points));
    answers.push(mirrored(asdu, TERMINATION, station));
    answers
}

/// Returns `asdu` with another cause.
fn mirrored(asdu: &[u8], cause: u8, station: u16) -> Vec<u8> {
    let mut mirror = asdu.to_vec();
    mirror[2] = cause;
    mirror[4..HEADER].copy_from_slice(&station.to_le_bytes());
    mirror
}

/// Returns all points in as few ASDUs as possible.
fn interrogated(originator: u8, station: u16, points: &Points) -> Vec<Vec<u8>> {
    let mut asdus: Vec<Vec<u8>> = Vec::new();
    for point in points.iter() {
        let (kind, element) = match point.value {
            Value::Single(state) => (M_SP_NA_1, vec![u8::from(state)]),
            Value::Measured(value) => {
                let mut element = value.to_le_bytes().to_vec();
                // Quality descriptor: valid.
                element.push(0);
                (M_ME_NC_1, element)
            }
        };
        let size = ADDRESS + element.len();
        let open = asdus
            .last_mut()
            .filter(|asdu| asdu[0] == kind && asdu[1] < 0x7f && asdu.len() + size <= MAX_ASDU);
        let asdu = match open {
            Some(asdu) => asdu,
            None => {
                let [low, high] = station.to_le_bytes();
                asdus.push(vec![kind, 0, INTERROGATED, originator, low, high]);
                match asdus.last_mut() {
                    Some(asdu) => asdu,
                    None => break,
                }
            }
        };
        asdu[1] += 1;
        asdu.extend_from_slice(&point.address.to_le_bytes()[..ADDRESS]);
        asdu.extend(element);
    }
    asdus
}
