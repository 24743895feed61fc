//! The shipped systemd unit runs what `init` writes. The sandbox consists of mounts as systemd
//! would make them by the unit's settings; seccomp and control groups are not emulated.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use attohttpc::RequestBuilder;
use dau_package::make::{Pki, PkiOptions};
use native_tls::Certificate;
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::port::free_port;
use crate::site::wait_for;

const UNIT: &str = include_str!("../../dist/dau-station.service");
/// Settings that sandbox.sh implements.
const HEEDED: [&str; 9] = [
    "ExecStart",
    "User",
    "StateDirectory",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "NoNewPrivileges",
    "LimitNOFILE",
];
/// Settings without effect on files, or that need more than mounts.
const OTHERS: [&str; 8] = [
    "ExecReload",
    "Restart",
    "RestartSec",
    "UMask",
    "ProtectKernelTunables",
    "ProtectControlGroups",
    "RestrictAddressFamilies",
    "MemoryDenyWriteExecute",
];

struct Sandbox(Child);

impl Drop for Sandbox {
    /// Ends its process group: what changes its user outlives `unshare --kill-child`.
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
fn the_unit_runs_what_init_writes() {
    let service = UNIT.split("[Service]").nth(1).unwrap();
    let service = service.split("[Install]").next().unwrap();
    let settings: HashMap<&str, &str> = service
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    for name in settings.keys() {
        let known = HEEDED.contains(name) || OTHERS.contains(name);
        assert!(known, "{name} is not in this test's sandbox: add it");
    }
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::create(&dir.path().join("pki"), &PkiOptions::default()).unwrap();
    let (https, mqtt) = (free_port().unwrap(), free_port().unwrap());
    let is_root = nix::unistd::geteuid().is_root();
    let own = [
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--propagation",
        "private",
    ];
    let mut command = Command::new("unshare");
    command.args(own).process_group(0);
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sandbox.sh");
    command
        .arg(script)
        .arg(dir.path())
        .arg(env!("CARGO_BIN_EXE_dau-station"))
        .arg(dir.path().join("pki"))
        .args([https.to_string(), mqtt.to_string()])
        .env("REAL_ROOT", if is_root { "yes" } else { "no" })
        .envs(HEEDED.map(|name| (name, settings.get(name).copied().unwrap_or(""))))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut sandbox = Sandbox(command.spawn().unwrap());
    let ca = Certificate::from_pem(&fs::read(pki.tls_ca()).unwrap()).unwrap();
    let said = || fs::read_to_string(dir.path().join("log")).unwrap();
    wait_for("the station in its sandbox", || {
        let ended = sandbox.0.try_wait().unwrap();
        assert!(ended.is_none(), "{}", said());
        let url = format!("https://localhost:{https}/api/v1/healthz");
        let answer = RequestBuilder::try_new(attohttpc::Method::GET, &url)
            .unwrap()
            .proxy_settings(attohttpc::ProxySettings::builder().build())
            .add_root_certificate(ca.clone())
            .send()
            .ok()?;
        let health: Value = serde_json::from_str(&answer.text().ok()?).ok()?;
        (health["broker"] == true && health["disk"] == true && health["database"] == true)
            .then_some(())
    });
}
