//! Checks whether a terminal's application serves: a STARTDT exchange of IEC 60870-5-104.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

/// STARTDT act and con, IEC 60870-5-104 clause 5.3: start byte, length, four control bytes of a U
/// frame.
const STARTDT_ACT: [u8; 6] = [0x68, 4, 0x07, 0, 0, 0];
const STARTDT_CON: [u8; 6] = [0x68, 4, 0x0b, 0, 0, 0];
/// Time limit for an answer; emulated terminals are slow.
const ANSWER: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_millis(200);

/// Connects and starts data transfer.
pub fn startdt(port: u16) -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.write_all(&STARTDT_ACT)?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    ensure!(
        answer == STARTDT_CON,
        "the answer to STARTDT is {answer:02x?}"
    );
    Ok(())
}

/// A thread that probes a terminal all the time and records its answers.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts probing `port` of this machine.
    pub fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (stopped, noted) = (stop.clone(), answers.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if startdt(port).is_ok() {
                    noted
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Instant::now());
                }
                std::thread::sleep(INTERVAL);
            }
        });
        Watch {
            stop,
            answers,
            thread: Some(thread),
        }
    }

    /// Returns the time of the last answer.
    pub fn last(&self) -> Option<Instant> {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .copied()
    }

    /// Returns the ends of the longest time between two answers since `from`.
    pub fn longest_silence(&self, from: Instant) -> Option<(Instant, Instant)> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers: Vec<_> = answers.iter().filter(|at| **at >= from).collect();
        let gaps = answers.windows(2).map(|pair| (*pair[0], *pair[1]));
        gaps.max_by_key(|(last, next)| *next - *last)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
