//! The agent's configuration.

use std::fs;

use anyhow::Result;

use crate::seed;

pub fn seeds() -> Result<()> {
    let shipped = fs::read_to_string(
        dau_fuzz::folder().join("../../rootfs-overlay/agent/etc/dau/agent.toml"),
    )?;
    // The shipped file has every key as a comment with its default.
    let set: String = shipped.replace("\n#", "\n").replace("\n ", "\n#");
    let site = "[station]\nhost = \"station\"\nport = 8883\n";
    seed(
        "settings",
        "shipped",
        format!("{shipped}\n---\n\n---\n{site}"),
    )?;
    seed("settings", "everything", format!("{set}\n---\n{site}"))?;
    for (name, text) in [
        ("attack-no-time", "[mqtt]\nheartbeat = nan"),
        ("attack-longest-time", "[download]\ngive_up_after = 1e308"),
        ("attack-negative", "[parameters]\nbackups = -1"),
        ("attack-section-is-a-value", "mqtt = 5"),
        ("attack-host-with-a-path", "[station]\nhost = \"a/b\""),
    ] {
        seed("settings", name, format!("{site}\n---\n{text}\n"))?;
    }
    Ok(())
}
