//! A root shell on the console. The reference terminal asks for no password there: its operator has
//! physical access anyway.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{ensure, Result};

use super::console::{Console, Mark, POWER_OFF};
use super::limit;
use crate::wait;

const U_BOOT_BANNER: &str = "U-Boot 20";
const RESTART: &str = "reboot: Restarting system";
const LOGIN: &str = "login:";

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A shell that waits for commands.
#[derive(Debug)]
pub struct Shell<'console> {
    console: &'console Console,
}

impl<'console> Shell<'console> {
    /// Waits for the login prompt of the normal OS and logs in, or for a shell that is open
    /// already.
    pub(super) fn log_in(console: &'console Console) -> Result<Self> {
        let shell = Shell { console };
        wait::until("a shell on the console", limit::BOOT, || {
            // Pressing a key would stop U-Boot's automatic boot.
            if !console
                .since_last(&[POWER_OFF, U_BOOT_BANNER, RESTART])
                .contains(LOGIN)
            {
                return Ok(None);
            }
            let mark = console.mark();
            console.type_in("\n")?;
            std::thread::sleep(Duration::from_millis(300));
            if console.since(mark).contains(LOGIN) {
                console.type_in("root\n")?;
                std::thread::sleep(Duration::from_millis(700));
            }
            Ok(shell.try_run("true", Duration::from_secs(5)).ok())
        })?;
        Ok(shell)
    }

    /// Runs a command and returns its output, without others' log lines if they are whole lines.
    /// Fails if the command fails.
    pub fn run(&self, command: &str) -> Result<String> {
        let (status, text) = self.try_run(command, limit::COMMAND)?;
        ensure!(
            status == 0,
            "'{command}' on the console ended with {status}: {text}"
        );
        Ok(text)
    }

    /// Types a command without waiting for it to end.
    pub fn start(&self, command: &str) -> Result<()> {
        self.console.type_in(&format!("{command}\n"))
    }

    fn try_run(&self, command: &str, limit: Duration) -> Result<(i32, String)> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut mark: Mark = self.console.mark();
        // The echo must not look like the answer, so the shell puts the text together.
        self.console.type_in(&format!(
            "printf '%s-%s\\n' begin {serial}; {command}; printf '%s-%s=%s.\\n' end {serial} $?\n"
        ))?;
        let (begin, end) = (format!("begin-{serial}\n"), format!("end-{serial}="));
        wait::until(&format!("the end of '{command}'"), limit, || {
            Ok(self.console.find(&mut mark, &begin))
        })?;
        let from = mark;
        let status = wait::until(&format!("the end of '{command}'"), limit, || {
            let mut behind = from;
            let status = self.console.find(&mut behind, &end);
            Ok(status.and_then(|status| status.strip_suffix('.').map(str::to_owned)))
        })?;
        let text = self.console.since(from);
        let text = text.split(&end).next().unwrap_or_default();
        Ok((status.parse()?, text.to_owned()))
    }
}
