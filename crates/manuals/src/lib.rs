//! Man pages and completions for bash, zsh and fish, made from a program's own command line.
//!
//! Programs call it from a hidden subcommand, `manuals`; what packs them runs that when it builds.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;

/// Options of `manuals`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder that stands for /usr/share
    #[arg(value_name = "SHARE")]
    share: PathBuf,
}

/// Writes the man pages and completions of `command`, a page for each subcommand, where Debian has
/// them. Hidden subcommands are left out.
pub fn write(args: &Args, command: Command) -> Result<()> {
    let name = command.get_name().to_owned();
    for (shell, folder, file) in [
        (Shell::Bash, "bash-completion/completions", name.clone()),
        (Shell::Zsh, "zsh/vendor-completions", format!("_{name}")),
        (
            Shell::Fish,
            "fish/vendor_completions.d",
            format!("{name}.fish"),
        ),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut shown(&command), &name, &mut text);
        let path = made(&args.share.join(folder))?.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let pages = made(&args.share.join("man/man1"))?;
    clap_mangen::generate_to(command, &pages)
        .with_context(|| format!("cannot write man pages to {}", pages.display()))
}

/// `command` for completions, whose generators know nothing of hidden subcommands.
fn shown(command: &Command) -> Command {
    let subcommands = command.get_subcommands().filter(|one| !one.is_hide_set());
    // The generator gives it its name; what the version is, is not asked.
    Command::new("")
        .version("")
        .args(command.get_arguments())
        .subcommands(subcommands)
}

fn made(folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_written_and_what_is_hidden_is_not() {
        let share = tempfile::tempdir().unwrap();
        let command = Command::new("tool")
            .version("1.2.3")
            .about("Does things")
            .subcommand(
                Command::new("carry")
                    .about("Carries them")
                    .arg(clap::Arg::new("far").long("far").help("A long way")),
            )
            .subcommand(Command::new("secret").hide(true));
        let args = Args {
            share: share.path().to_owned(),
        };
        write(&args, command).unwrap();
        let read = |name: &str| fs::read_to_string(share.path().join(name)).unwrap();
        for name in [
            "bash-completion/completions/tool",
            "zsh/vendor-completions/_tool",
            "fish/vendor_completions.d/tool.fish",
        ] {
            let text = read(name);
            assert!(text.contains("carry") && text.contains("far"), "{name}");
            assert!(!text.contains("secret"), "{name}");
        }
        let page = read("man/man1/tool.1");
        assert!(page.contains("Does things") && page.contains("1.2.3"));
        assert!(read("man/man1/tool-carry.1").contains("A long way"));
        assert!(!page.contains("secret"));
        assert!(!share.path().join("man/man1/tool-secret.1").exists());
    }
}
