//! The command line of QEMU for a terminal.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{json, Value};

use super::hardware::{Hardware, Service, Storage};
use crate::pki::STATION_HOST;

/// Name of the disk in QEMU's monitor.
pub(super) const DISK: &str = "disk";
/// Port of IEC 60870-5-104.
const APPLICATION_PORT: u16 = 2404;
/// Second name of this machine in QEMU's user network, for when [`STATION_HOST`] leads elsewhere.
const OTHER_HOST: &str = "10.0.2.99";

/// Returns the arguments of QEMU for a terminal with this disk, whose application is reached at
/// `port` of this machine and whose monitor listens at the socket `qmp`.
pub(super) fn arguments(hardware: &Hardware, disk: &Path, port: u16, qmp: &Path) -> Vec<OsString> {
    let clock = hardware.clock.as_deref().unwrap_or("utc");
    // Emulating a cycle costs at least one cycle here: a second processor gains nothing.
    let fixed = [
        "-smp",
        "1",
        "-nodefaults",
        "-display",
        "none",
        "-no-user-config",
        "-chardev",
        "stdio,id=console,signal=off,mux=on",
        "-serial",
        "chardev:console",
        "-object",
        "rng-random,id=rng,filename=/dev/urandom",
        "-device",
        "virtio-rng-device,rng=rng",
    ];
    let machine = hardware.machine.arguments().iter().map(OsString::from);
    let mut args: Vec<OsString> = machine.chain(fixed.map(OsString::from)).collect();
    let mut add = |option: &str, value: String| {
        args.push(option.into());
        args.push(value.into());
    };
    add("-bios", hardware.machine.u_boot.display().to_string());
    if let Some(flash) = &hardware.u_boot_flash {
        // The second flash of the machine's two.
        let flash = flash.display();
        add(
            "-drive",
            format!("if=pflash,unit=1,format=raw,readonly=on,file={flash}"),
        );
    }
    add("-rtc", format!("base={clock}"));
    add("-qmp", format!("unix:{},server=on,wait=off", qmp.display()));
    for node in disk_nodes(&hardware.storage, disk) {
        add("-blockdev", node.to_string());
    }
    // The log has only writes and flushes; a guest that cannot discard or zero sectors writes zeros
    // instead. QEMU would merge writes until there are more pieces, with the log's own, than the
    // system takes at once.
    let plain = "discard=off,write-zeroes=off,request-merging=off";
    let device = match hardware.storage {
        Storage::Recorded(_) => format!("virtio-blk-device,drive={DISK},id={DISK},{plain}"),
        _ => format!("virtio-blk-device,drive={DISK},id={DISK}"),
    };
    add("-device", device);
    let mut network = format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{APPLICATION_PORT}");
    if !hardware.services.is_empty() {
        network += &format!(",host={OTHER_HOST}");
    }
    for Service { port, command } in &hardware.services {
        let command = command.replace(',', ",,");
        network += &format!(",guestfwd=tcp:{STATION_HOST}:{port}-cmd:{command}");
    }
    add("-netdev", network);
    add("-device", "virtio-net-device,netdev=net".to_owned());
    args
}

/// Returns the disk in the form of QEMU's block layer (qapi/block-core.json).
fn disk_nodes(storage: &Storage, disk: &Path) -> Vec<Value> {
    let unflushed = matches!(storage, Storage::Unflushed | Storage::Recorded(_));
    let file =
        |path: &Path| json!({"driver": "file", "filename": path, "cache": {"no-flush": unflushed}});
    match storage {
        Storage::Plain | Storage::Unflushed => {
            vec![json!({"driver": "raw", "node-name": DISK, "file": file(disk)})]
        }
        Storage::Failing(rules) => vec![json!({
            "driver": "blkdebug", "node-name": DISK, "config": rules,
            "image": {"driver": "raw", "file": file(disk)},
        })],
        Storage::Recorded(log) => vec![json!({
            "driver": "blklogwrites", "node-name": DISK,
            "file": {"driver": "raw", "file": file(disk)},
            "log": file(log), "log-sector-size": 512, "log-super-update-interval": 1,
        })],
    }
}
