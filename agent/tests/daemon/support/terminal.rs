//! A terminal made of directories, with the real agent.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use dau_boot_state::{decide, recovery_name, Boot, BootState, Store};
use dau_handoff::layout::identity::{CERTIFICATE, KEY, SETTINGS, STATION_CA, TERMINAL_ID};
use dau_handoff::{Job, Layout};
use dau_model::{Slot, State};
use dau_package::make::Pki;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::packages::recovery_os;
use super::{wait_for, TERMINAL};

pub const PRODUCT: &str = "test-terminal";
const PARAMETER: &str = "etc/app/settings.conf";

/// Directories, and the agent once it runs.
pub struct Terminal {
    dir: PathBuf,
    pub layout: Layout,
    agent: Option<Child>,
    starts: usize,
    /// Stands for the utility's application.
    _application: TcpListener,
}

impl Terminal {
    pub fn new(dir: &Path, pki: &Pki, broker: u16, settings: &str) -> Self {
        let layout = Layout::new(&dir.join("mnt"));
        for folder in [
            "mnt",
            "boot",
            "root/etc/app",
            "root/etc/dau/parameters.d",
            "health.d",
        ] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        layout.create().unwrap();
        fs::write(dir.join("root").join(PARAMETER), "trip = 4.2\n").unwrap();
        fs::write(dir.join("root/etc/dau/parameters.d/app.list"), "/etc/app\n").unwrap();
        let (certificate, key) = pki.tls_identity(&format!("terminals/{TERMINAL}"));
        let identity = layout.identity();
        fs::write(identity.join(TERMINAL_ID), format!("{TERMINAL}\n")).unwrap();
        fs::copy(certificate, identity.join(CERTIFICATE)).unwrap();
        fs::copy(key, identity.join(KEY)).unwrap();
        fs::copy(pki.tls_ca(), identity.join(STATION_CA)).unwrap();
        let application = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = application.local_addr().unwrap().port();
        let at = dir.display();
        let config = format!(
            "[paths]\nmnt = '{at}/mnt'\nroot = '{at}/root'\nboot_directory = '{at}/boot'\n\
             keyring = '{}'\nos_release = '{at}/os-release'\n\
             [reboot]\ncommand = ['touch', '{at}/rebooted']\nforce_after = 0\n\
             [health]\ntcp_ports = [{port}]\ndirectory = '{at}/health.d'\ntimeout = 5\n\
             [watchdog]\ndevice = ''\n\
             [mqtt]\nbackoff_min = 0.1\nbackoff_max = 1\nresult_repeat_min = 0.2\nresult_repeat_max = 0.5\n\
             [download]\nretry_min = 0.05\nretry_max = 0.2\n",
            pki.keyring().display()
        );
        fs::write(dir.join("agent.toml"), config).unwrap();
        let site = format!("[station]\nhost = 'localhost'\nport = {broker}\n{settings}");
        fs::write(identity.join(SETTINGS), site).unwrap();
        let terminal = Terminal {
            dir: dir.to_owned(),
            layout,
            agent: None,
            starts: 0,
            _application: application,
        };
        terminal.set_version("1.0.0");
        terminal.set_boot(&BootState::factory());
        for slot in [Slot::A, Slot::B] {
            fs::write(terminal.recovery_slot(slot), recovery_os("1.0.0")).unwrap();
        }
        terminal
    }

    /// What the running OS says of itself.
    pub fn set_version(&self, version: &str) {
        let text = format!(
            "NAME='Test OS'\nVERSION_ID={version}\nDAU_PRODUCT={PRODUCT}\nDAU_ROLLBACK_INDEX=5\n"
        );
        fs::write(self.dir.join("os-release"), text).unwrap();
    }

    pub fn set_boot(&self, state: &BootState) {
        Store::load(&self.dir.join("boot")).save(state).unwrap();
    }

    pub fn boot(&self) -> BootState {
        Store::load(&self.dir.join("boot")).state().unwrap().clone()
    }

    pub fn health_check(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.join("health.d").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The file of a RecoveryOS slot.
    pub fn recovery_slot(&self, slot: Slot) -> PathBuf {
        self.dir.join("boot").join(recovery_name(slot))
    }

    /// The bootloader's part of a check: it starts the new RecoveryOS once. `proves_itself`: that
    /// takes charge.
    pub fn checks_recovery(&self, proves_itself: bool) {
        let Boot::Check {
            recovery, write, ..
        } = decide(Some(&self.boot()))
        else {
            panic!("no check was asked for: {:?}", self.boot());
        };
        self.set_boot(&write);
        if proves_itself {
            self.set_boot(&write.in_charge(recovery));
        }
    }

    /// A file that belongs to the utility's application.
    pub fn parameter(&self) -> PathBuf {
        self.dir.join("root").join(PARAMETER)
    }

    pub fn job(&self) -> Option<Job> {
        Job::load(&self.layout.job()).unwrap()
    }

    /// Changes the job file, as RecoveryOS does.
    pub fn change_job(&self, change: impl FnOnce(&mut Job)) {
        let mut job = self.job().unwrap();
        change(&mut job);
        job.save(&self.layout.job()).unwrap();
    }

    /// RecoveryOS's part of an upgrade that succeeds: the new OS boots on trial.
    pub fn recovery_installs(&self, version: &str) {
        let boot = self.boot();
        assert!(boot.upgrade, "{boot:?}");
        self.change_job(|job| {
            job.stage("write-rootfs", 1.0, Some(3));
            job.force(State::Trial);
        });
        self.set_version(version);
        self.set_boot(&boot.committed(Slot::B, 3));
    }

    pub fn start(&mut self) {
        assert!(self.agent.is_none());
        let _ = fs::remove_file(self.dir.join("rebooted"));
        self.starts += 1;
        let log = fs::File::create(self.log_path(self.starts)).unwrap();
        // Another build of the agent, such as the one for release, may be named.
        let agent = std::env::var_os("DAU_AGENT");
        let agent = agent.unwrap_or_else(|| env!("CARGO_BIN_EXE_dau-agent").into());
        let child = Command::new(agent)
            .arg("--config")
            .arg(self.dir.join("agent.toml"))
            .env("RUST_LOG", "debug,rumqttc=error,attohttpc=error")
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(child);
    }

    /// Adds sections to the settings of the site, for the next start.
    pub fn add_settings(&self, sections: &str) {
        let path = self.layout.identity().join(SETTINGS);
        let settings = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{settings}\n{sections}")).unwrap();
    }

    /// Sends a signal to the agent.
    pub fn signal(&self, signal: Signal) {
        let agent = self.agent.as_ref().unwrap();
        let pid = i32::try_from(agent.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// As when power goes.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// As init does.
    pub fn stop(&mut self) -> ExitStatus {
        let mut agent = self.agent.take().unwrap();
        let pid = i32::try_from(agent.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_for("the agent's end", || agent.try_wait().unwrap())
    }

    /// Waits until the agent asks for a reboot, and lets the system go down.
    pub fn reboots(&mut self) {
        wait_for("a reboot", || {
            self.dir.join("rebooted").exists().then_some(())
        });
        assert!(self.stop().success());
    }

    pub fn runs(&mut self) -> bool {
        let agent = self.agent.as_mut().unwrap();
        agent.try_wait().unwrap().is_none()
    }

    fn log_path(&self, start: usize) -> PathBuf {
        self.dir.join(format!("log-{start}"))
    }

    /// What the agent logged since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path(self.starts)).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if std::thread::panicking() {
            for start in 1..=self.starts {
                let log = fs::read_to_string(self.log_path(start)).unwrap_or_default();
                eprintln!("--- agent's log, start {start}\n{log}");
            }
        }
    }
}
