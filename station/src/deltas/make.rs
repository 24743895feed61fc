//! `make-delta`: makes one delta in a process of its own, so that its memory and its end are not the
//! station's.
//!
//! A line on standard output for each per cent: step, bytes done, bytes in total. It ends when its
//! standard input does, that is with the station, and with it the whole process group: the command
//! that signs, too.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use dau_package::make::{self, DeltaRecipe, Signing};
use nix::sys::resource::{setrlimit, Resource};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// Most memory, bytes.
const MEMORY: u64 = 512 << 20;

/// The word of the step in which the command signs.
pub const SIGN: &str = "sign";

/// The inputs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    base: PathBuf,
    #[arg(long)]
    target: PathBuf,
    #[arg(long)]
    output: PathBuf,
    /// Bytes that stay free beside it
    #[arg(long)]
    reserve: u64,
    /// Certificates of the signer; without them the delta is not signed
    #[arg(long, requires = "sign_command")]
    signer: Option<PathBuf>,
    #[arg(long)]
    sign_command: Option<String>,
}

/// Makes the delta.
pub fn run(args: &Args) -> Result<()> {
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = kill(Pid::from_raw(0), Signal::SIGKILL);
    });
    setrlimit(Resource::RLIMIT_DATA, MEMORY, MEMORY).context("cannot bound the memory")?;
    let signing = match (&args.signer, &args.sign_command) {
        (Some(signer), Some(command)) => {
            let chain = fs::read(signer)
                .with_context(|| format!("deltas.signer: cannot read {}", signer.display()))?;
            Some(Signing::with_command(&chain, command)?)
        }
        _ => None,
    };
    let recipe = DeltaRecipe {
        base: args.base.clone(),
        target: args.target.clone(),
        minimum_recovery: None,
        threads: 1,
        reserve: args.reserve,
    };
    let mut last = (make::Step::Verify, u64::MAX);
    make::delta(
        &recipe,
        signing.as_ref(),
        &args.output,
        &mut |step, done, total| {
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0);
            if (step, percent) != last {
                last = (step, percent);
                let mut out = io::stdout().lock();
                let _ = writeln!(out, "{} {done} {total}", word(step));
                let _ = out.flush();
            }
        },
    )?;
    Ok(())
}

fn word(step: make::Step) -> &'static str {
    match step {
        make::Step::Compress => "compress",
        make::Step::Digest => "digest",
        make::Step::Sign => SIGN,
        make::Step::Verify => "verify",
        make::Step::Unpack => "unpack",
        make::Step::Compare => "compare",
        make::Step::Apply => "apply",
    }
}
