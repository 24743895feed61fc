//! Noise on the serial line, as from a bad cable or a radio nearby.

use std::time::Duration;

/// Time between two bursts.
pub(super) const PAUSE: Duration = Duration::from_millis(40);
/// QEMU's escape on a multiplexed line; with `b` after it, QEMU sends a break.
const BREAK: [u8; 2] = [0x01, b'b'];
/// Bytes with a meaning to a bootloader, a shell, or a kernel after a break: Ctrl-C, Ctrl-D,
/// escape, line ends; SysRq's restart, crash, power off and unmount.
const MEANT: &[u8] = b"\x03\x03\x04\x1b\r\n  bcoueif";

/// A reproducible source of noise.
#[derive(Debug)]
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new() -> Self {
        Noise(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u8 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u8
    }

    /// Returns a few bytes: random ones, [`MEANT`] ones, breaks with a letter after them. They
    /// contain no other escape of QEMU.
    pub(super) fn burst(&mut self) -> Vec<u8> {
        let mut burst = Vec::new();
        for _ in 0..self.next() % 8 + 1 {
            let meant = MEANT[usize::from(self.next()) % MEANT.len()];
            match self.next() {
                0..=7 => burst.extend([BREAK[0], BREAK[1], meant]),
                8..=127 => burst.push(meant),
                _ => burst.push(match self.next() {
                    escape if escape == BREAK[0] => 0,
                    byte => byte,
                }),
            }
        }
        burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_ctrl_c_line_ends_and_breaks_and_no_other_escape_of_qemu() {
        let mut noise = Noise::new();
        let bytes: Vec<u8> = (0..10_000).flat_map(|_| noise.burst()).collect();
        for byte in [0x03, b'\r', b' ', 0x00, 0xff] {
            assert!(bytes.contains(&byte), "no {byte:#x}");
        }
        let breaks: Vec<_> = bytes.windows(2).filter(|pair| pair[0] == 0x01).collect();
        assert!(breaks.len() > 100);
        assert!(breaks.iter().all(|pair| *pair == BREAK));
    }
}
