//! A whole system on one machine, for tests, demo and measurements: broker and station as deployed,
//! and terminals in QEMU with the real U-Boot, kernel, RecoveryOS and agent.
//!
//! # What it guarantees
//!
//! - Nothing needs root and nothing is mounted: a terminal's disk is a file, read and changed with
//!   debugfs and mtools while the terminal is off.
//! - Every service listens on a free port of the loopback interface and has its own keys, so sites
//!   run side by side.
//! - No program outlives its value or the thread that started it: the kernel kills it then.
//! - Every wait has a time limit, and its error names what was waited for.
//! - A power cut is SIGKILL for QEMU: data that the guest has written is in the file, the rest is
//!   lost.
//!
//! # Modules, from the ground up
//!
//! - [`wait`], [`process`], [`port`]: waits with a limit, programs that end with their owner, free
//!   ports
//! - [`machine`]: what QEMU emulates; [`disk`]: a terminal's disk while it is off; [`places`]:
//!   images, packages and programs
//! - [`pki`], [`broker`], [`proxy`]: keys, mosquitto, and a connection that is counted, slowed and
//!   cut
//! - [`iec104`], [`terminal`]: a probe of the application; a terminal's power, console, clock and
//!   failing sectors
//! - [`mqtt`], [`station`], [`site`]: an independent MQTT client, the station, and everything
//!   together
//! - [`hostile`]: packages that a terminal must refuse
//!
//! # Example
//!
//! One upgrade, on the images of `make image` (not run here: it takes minutes):
//!
//! ```no_run
//! use dau_rig::places::{Places, NEW};
//! use dau_rig::site::{Options, Site};
//!
//! # fn main() -> anyhow::Result<()> {
//! let places = Places::new(None, None)?;
//! let folder = tempfile::tempdir()?;
//! let mut site = Site::new(&places, folder.path(), &Options::default())?;
//! site.start()?;
//! let job = site.order(NEW, "full")?;
//! let result = site.wait_for_result(job)?;
//! assert_eq!(result.outcome.as_deref(), Some("success"));
//! site.power_cut();
//! assert!(!site.terminal.disk()?.boot_state()?.trial);
//! # Ok(())
//! # }
//! ```
//!
//! The parts can be used alone, too:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let server = TcpListener::bind(("127.0.0.1", 0))?;
//! let proxy = dau_rig::proxy::Proxy::to(server.local_addr()?.port())?;
//! let mut client = TcpStream::connect(("127.0.0.1", proxy.port()))?;
//! server.accept()?.0.write_all(b"a package")?;
//! let mut received = [0; 9];
//! client.read_exact(&mut received)?;
//! assert_eq!(proxy.bytes_down(), 9);
//! # anyhow::Ok(())
//! ```

#![deny(missing_docs)]

pub mod broker;
pub mod disk;
pub mod hostile;
pub mod iec104;
pub mod machine;
pub mod mqtt;
pub mod pki;
pub mod places;
pub mod port;
pub mod process;
pub mod proxy;
pub mod site;
pub mod station;
pub mod terminal;
pub mod wait;
