//! Whether a terminal's application serves: a STARTDT exchange of IEC 60870-5-104.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};

/// STARTDT act and con, IEC 60870-5-104 clause 5.3: start byte, length, four control bytes of a U frame.
const STARTDT_ACT: [u8; 6] = [0x68, 4, 0x07, 0, 0, 0];
const STARTDT_CON: [u8; 6] = [0x68, 4, 0x0b, 0, 0, 0];
/// How long a serving terminal may take: emulated ones are slow.
const ANSWER: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_millis(200);

/// Connects and asks for data transfer to start.
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

/// Asks a terminal again and again, and knows when it answered.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins.
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

    /// When the terminal last answered.
    pub fn last(&self) -> Option<Instant> {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .copied()
    }

    /// The longest time without an answer between two answers since `from`.
    pub fn longest_silence(&self, from: Instant) -> Duration {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answers: Vec<_> = answers.iter().filter(|at| **at >= from).collect();
        let gaps = answers.windows(2).map(|pair| *pair[1] - *pair[0]);
        gaps.max().unwrap_or_default()
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
