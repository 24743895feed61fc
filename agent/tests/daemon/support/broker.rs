//! A mosquitto of our own, with client certificates and one topic tree per terminal.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dau_package::make::Pki;

use super::port::free_port;

/// A running broker; ends with the value.
pub struct Broker {
    pub port: u16,
    config: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Broker {
    pub fn start(dir: &Path, pki: &Pki) -> Self {
        fs::create_dir_all(dir).unwrap();
        let port = free_port().unwrap();
        let (certificate, key) = pki.tls_identity("broker");
        let acl = "pattern read /v1/%u/device/command\npattern read /v1/%u/device/response\n\
             pattern write /v1/%u/device/reply\npattern write /v1/%u/device/request\n\
             pattern write /v1/%u/device/data\n\nuser station\ntopic readwrite /v1/#\n";
        fs::write(dir.join("acl"), acl).unwrap();
        let config = format!(
            "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nacl_file {}\npersistence true\npersistence_location {}/\n\
             autosave_interval 1\nlog_type all\nlog_dest stderr\n{}",
            pki.tls_ca().display(),
            certificate.display(),
            key.display(),
            dir.join("acl").display(),
            dir.display(),
            // As root it would become another user, who may not read our keys.
            if nix::unistd::getuid().is_root() { "user root\n" } else { "" },
        );
        let path = dir.join("mosquitto.conf");
        fs::write(&path, config).unwrap();
        let log = dir.join("log");
        let child = spawn(&path, &log, port);
        Broker {
            port,
            config: path,
            log,
            child,
        }
    }

    /// Ends it without a chance to tidy up, and starts it again.
    pub fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.config, &self.log, self.port);
    }

    /// Ends it for good.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until what was just sent is on its disk.
    pub fn saved(&self, what: &str) {
        let saves = || self.log().matches("Saving in-memory database").count();
        let before = saves();
        super::wait_for(&format!("{what} on the broker's disk"), || {
            (saves() > before + 1).then_some(())
        });
    }

    /// Starts it again with another PKI.
    pub fn renew(&mut self, pki: &Pki) {
        let (certificate, key) = pki.tls_identity("broker");
        let renewed = [
            ("cafile", pki.tls_ca()),
            ("certfile", certificate),
            ("keyfile", key),
        ];
        let config = fs::read_to_string(&self.config).unwrap();
        let line = |line: &str| {
            let of = |(name, _): &&(&str, PathBuf)| line.starts_with(name);
            match renewed.iter().find(of) {
                Some((name, path)) => format!("{name} {}\n", path.display()),
                None => format!("{line}\n"),
            }
        };
        let config: String = config.lines().map(line).collect();
        fs::write(&self.config, config).unwrap();
        self.restart();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path, log: &Path, port: u16) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    // Debian keeps it where an ordinary user's PATH does not lead.
    let program = [
        "/usr/sbin/mosquitto",
        "/usr/local/sbin/mosquitto",
        "mosquitto",
    ]
    .into_iter()
    .find(|program| !program.starts_with('/') || Path::new(program).exists())
    .unwrap();
    let child = Command::new(program)
        .arg("-c")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("mosquitto must be installed: apt-get install mosquitto");
    super::wait_for("mosquitto's port", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    child
}
