//! A station's surroundings for the whole agent, as an ordinary user: a real mosquitto, a real
//! HTTPS file service with faults on demand, directories that stand for the partitions, and
//! RecoveryOS's part played by the test.

pub mod broker;
pub mod files;
pub mod packages;
#[path = "../../../../ci/rig/src/port.rs"]
mod port;
#[allow(dead_code, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[path = "../../../../ci/rig/src/proxy.rs"]
pub mod proxy;
pub mod station;
pub mod terminal;

use std::time::{Duration, Instant};

use dau_package::make::{Pki, PkiOptions};

use broker::Broker;
use files::FileService;
use packages::Maker;
use station::Station;
use terminal::Terminal;

/// The one terminal.
pub const TERMINAL: &str = "T-0001";
/// Long enough for a loaded machine: only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Everything around one terminal.
pub struct World {
    pub terminal: Terminal,
    pub station: Station,
    pub files: FileService,
    pub broker: Broker,
    pub maker: Maker,
    _dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with_settings("")
    }

    /// `settings`: more of the site's agent.toml.
    pub fn with_settings(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = PkiOptions {
            terminals: vec![TERMINAL.to_owned()],
            ..PkiOptions::default()
        };
        let pki = Pki::create(&dir.path().join("pki"), &options).unwrap();
        let broker = Broker::start(&dir.path().join("broker"), &pki);
        let files = FileService::start(&pki);
        let station = Station::connect(&broker, &pki);
        let terminal = Terminal::new(&dir.path().join("terminal"), &pki, broker.port, settings);
        World {
            maker: Maker::new(&dir.path().join("packages"), &pki),
            terminal,
            station,
            files,
            broker,
            _dir: dir,
        }
    }
}

impl World {
    /// Starts the agent, and waits until it hears what the station says.
    pub fn start(&mut self) {
        self.terminal.start();
        self.station
            .expect_type(dau_protocol::message_type::LINK_UP);
    }
}

/// Looks until there is something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
