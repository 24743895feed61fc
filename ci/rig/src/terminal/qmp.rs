//! The used part of QEMU's monitor protocol (QEMU's docs/interop/qmp-spec.rst).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use serde_json::{json, Value};

/// A negotiated connection.
pub(super) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("QEMU's monitor")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut qmp = Qmp {
            stream: BufReader::new(stream),
        };
        qmp.read()?;
        qmp.execute(&json!({"execute": "qmp_capabilities"}))?;
        Ok(qmp)
    }

    /// Limits the write speed of a drive, bytes per second.
    pub(super) fn limit_writing(&mut self, id: &str, bytes_per_second: u64) -> Result<()> {
        self.execute(&json!({"execute": "block_set_io_throttle", "arguments": {
            "id": id, "bps": 0, "bps_rd": 0, "bps_wr": bytes_per_second, "iops": 0, "iops_rd": 0,
            "iops_wr": 0,
        }}))
    }

    fn execute(&mut self, command: &Value) -> Result<()> {
        self.stream
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())?;
        loop {
            let answer = self.read()?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU's monitor refuses {command}: {error}");
            }
            // All other messages are events.
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("QEMU's monitor")?;
        Ok(serde_json::from_str(&line)?)
    }
}
