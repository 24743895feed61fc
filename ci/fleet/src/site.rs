//! Broker, database and stations of a run.

use std::path::Path;

use anyhow::{ensure, Result};
use dau_package::make::{build, Recipe, Signing};
use dau_rig::broker::{self, Broker};
use dau_rig::pki::SitePki;
use dau_rig::port::free_port;
use dau_rig::station::{Setup, Station};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use openssl::pkey::PKey;

use crate::fleet::{epoch, shared_clients};
use crate::options::Options;
use crate::postgresql::Server;
use crate::terminal::{NEW, PRODUCT};

/// What a run has besides its terminals.
pub struct Site {
    pub broker: Broker,
    /// `None`: SQLite.
    pub database: Option<Server>,
    pub stations: Vec<Station>,
    /// Of the stations' HTTPS services.
    pub ports: Vec<u16>,
}

impl Site {
    /// Starts all.
    pub fn start(options: &Options, pki: &SitePki, folder: &Path) -> Result<Self> {
        ensure!(
            options.stations == 1 || options.stations > 1 && options.postgresql,
            "--stations: several stations need --postgresql"
        );
        let names: Vec<String> = match options.stations {
            1 => Vec::new(),
            count => (1..=count)
                .map(|number| format!("station-{number}"))
                .collect(),
        };
        for name in &names {
            pki.add_client(name)?;
        }
        let clients = [shared_clients(options), names.clone()].concat();
        let setup = broker::Setup {
            limit: None,
            clients: &clients,
            autosave: 30,
        };
        let broker = Broker::start_as(&setup, pki, &folder.join("broker"))?;
        let database = options.postgresql.then(Server::start).transpose()?;
        let section = database.as_ref().map_or(String::new(), Server::section);
        let settings = format!(
            "[jobs]\nresend_seconds = {}\n[downloads]\nretry_after_seconds = 1\n\
             [record]\nkeep_events = 100000000\n{section}",
            options.resend
        );
        let (mut stations, mut ports) = (Vec::new(), Vec::new());
        for number in 0..options.stations {
            let port = free_port()?;
            let setup = Setup {
                program: std::env::current_exe()?.with_file_name("dau-station"),
                keyring: pki.stranger().keyring(),
                settings: &settings,
                name: names.get(number).map(String::as_str),
                broker_port: broker.port(),
                port,
                public_port: port,
            };
            let folder = match number {
                0 => folder.join("station"),
                _ => folder.join(format!("station-{}", number + 1)),
            };
            stations.push(Station::start_as(&setup, pki, &folder)?);
            ports.push(port);
        }
        Ok(Site {
            broker,
            database,
            stations,
            ports,
        })
    }
}

/// Makes the signed package that is ordered.
pub fn package(pki: &SitePki, folder: &Path, size: usize) -> Result<std::path::PathBuf> {
    let kernel = folder.join("kernel.itb");
    let mut content = vec![0; size.max(16)];
    openssl::rand::rand_bytes(&mut content)?;
    // The head of a FIT image.
    content[..4].copy_from_slice(&[0xD0, 0x0D, 0xFE, 0xED]);
    content[4..8].copy_from_slice(&u32::try_from(size.max(16))?.to_be_bytes());
    std::fs::write(&kernel, content)?;
    let recipe = Recipe {
        product: PRODUCT.to_owned(),
        version: NEW.to_owned(),
        created: epoch(),
        rollback_index: 1,
        kernel: Some(kernel),
        rootfs: None,
        sbom: None,
        recovery: None,
        minimum_recovery: None,
        compression: Default::default(),
    };
    let signer = pki.stranger();
    let key = PKey::private_key_from_pem(&std::fs::read(signer.signer_key())?)?;
    let signing = Signing::with_key(&std::fs::read(signer.signer_chain())?, key)?;
    let package = folder.join("fleet.dau");
    build(&recipe, Some(&signing), &package, &mut |_, _, _| {})?;
    Ok(package)
}

/// Raises the limit of open files, which broker and station inherit.
pub fn room_for_files(options: &Options) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let needed = options.terminals.div_ceil(options.each.max(1)) as u64 + 1000;
    ensure!(
        needed <= hard,
        "{needed} files are to be open, and the system allows {hard}: raise it (ulimit -n), or let \
         terminals share connections (--each 1000)"
    );
    Ok(())
}

/// Returns the load of the machine.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
