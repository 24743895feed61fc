//! An independent MQTT client: mosquitto_pub and mosquitto_sub.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use dau_protocol::{Channel, Envelope, Topic};

use crate::pki::{SitePki, SPEAKER, WATCHER};
use crate::process::{run, tool, Process};
use crate::terminal::limit;
use crate::wait;

/// A client that may publish and read everything, as the broker allows to no other client.
#[derive(Debug)]
pub struct Client {
    speaker: Vec<OsString>,
    watcher: Vec<OsString>,
    folder: PathBuf,
}

/// A subscription that collects the messages of a terminal.
#[derive(Debug)]
pub struct Listener {
    _process: Process,
    log: PathBuf,
}

impl Client {
    /// Makes a client of the broker at `port` with files in `folder`.
    pub fn new(pki: &SitePki, port: u16, folder: &Path) -> Self {
        let options = |name: &str| {
            let (certificate, key) = pki.client(name);
            let mut options: Vec<OsString> = ["-h", "localhost", "-q", "1", "-p"]
                .map(OsString::from)
                .to_vec();
            options.push(port.to_string().into());
            let files = [
                ("--cafile", pki.ca()),
                ("--cert", certificate),
                ("--key", key),
            ];
            for (option, file) in files {
                options.extend([option.into(), file.into()]);
            }
            options
        };
        Client {
            speaker: options(SPEAKER),
            watcher: options(WATCHER),
            folder: folder.to_owned(),
        }
    }

    /// Publishes a payload on a terminal's command topic.
    pub fn command(&self, terminal: &str, bytes: &[u8]) -> Result<()> {
        let file = tempfile::NamedTempFile::new_in(&self.folder)?;
        std::fs::write(file.path(), bytes)?;
        let topic = Topic::new(terminal, Channel::Command).to_string();
        run(tool("mosquitto_pub")
            .args(&self.speaker)
            .args(["-t", &topic, "-f"])
            .arg(file.path()))?;
        Ok(())
    }

    /// Subscribes to a terminal's topics until the listener is dropped.
    pub fn listen(&self, terminal: &str) -> Result<Listener> {
        // A new file: messages of an earlier listener must not appear again.
        let log = tempfile::Builder::new()
            .prefix("heard-")
            .suffix(".log")
            .tempfile_in(&self.folder)?
            .into_temp_path()
            .keep()?;
        let mut args: Vec<&OsStr> = self.watcher.iter().map(OsString::as_os_str).collect();
        let topics: Vec<String> = [
            Channel::Command,
            Channel::Reply,
            Channel::Data,
            Channel::Request,
        ]
        .map(|channel| Topic::new(terminal, channel).to_string())
        .to_vec();
        args.push(OsStr::new("-d"));
        for topic in &topics {
            args.extend(["-t".as_ref(), OsStr::new(topic)]);
        }
        let process = Process::start("mosquitto_sub", Path::new("mosquitto_sub"), &args, &log)?;
        wait::until(
            "the listener's subscription",
            Duration::from_secs(20),
            || {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Ok(said.contains("Subscribed").then_some(()))
            },
        )?;
        Ok(Listener {
            _process: process,
            log,
        })
    }
}

impl Listener {
    /// Returns all messages so far.
    pub fn heard(&self) -> Vec<Envelope> {
        let said = std::fs::read(&self.log).unwrap_or_default();
        // The client's own notes stand between the messages.
        let messages = said
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"{"));
        messages
            .filter_map(|line| Envelope::parse(line).ok())
            .collect()
    }

    /// Waits for the reply to the message with this `mid`; `None`: for any reply that refuses.
    pub fn reply(&self, mid: Option<i64>) -> Result<Envelope> {
        let what = format!("a reply to message {mid:?}");
        self.wait(&what, limit::COMMAND, |message| match (message.code, mid) {
            (Some(_), Some(mid)) => message.mid == mid,
            (Some(code), None) => code >= dau_protocol::code::BAD_REQUEST,
            (None, _) => false,
        })
    }

    /// Waits for a message that `wanted` accepts.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Envelope) -> bool,
    ) -> Result<Envelope> {
        wait::until(what, limit, || {
            Ok(self.heard().into_iter().find(|message| wanted(message)))
        })
    }
}
