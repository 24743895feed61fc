//! Small texts; the first byte selects the parser.

use anyhow::Result;

use crate::seed;

pub fn seeds() -> Result<()> {
    let hex = "0f".repeat(32);
    for (name, text) in [
        (
            "headers-range",
            "h206\n200\nbytes 100-299/300\n\"a\"\n\n100\n300\n\"a\"",
        ),
        ("headers-whole", "h200\n300\n\n\"a\"\n7\n0\n"),
        ("headers-complete", "h416\n\nbytes */300\n\n\n300\n300"),
        (
            "attack-range-to-the-end-of-numbers",
            "h206\n\nbytes 1-18446744073709551615/0\n\n\n1\n",
        ),
        (
            "command-line",
            "cconsole=ttyAMA0 dau.reason=trial-ended dau.recovery=b dau.kernel=a quiet",
        ),
        (
            "os-release",
            "oNAME=\"x\"\nVERSION_ID=1.1.0\nDAU_PRODUCT='p'\nDAU_ROLLBACK_INDEX=7\n",
        ),
        (
            "parameter-list",
            "p# ours\n/etc/app/**/*.conf\n/etc/[a-c]?\n",
        ),
        ("attack-list-of-everything", "p/*\n"),
        (
            "attack-list-of-the-kernels",
            "p/etc/../proc\n//proc\n/./dev\n",
        ),
        ("topic", "t/v1/DTU-0001/device/command"),
        ("attack-topic-of-everybody", "t/v1/+/device/command"),
        ("versions", "v1.2~rc1\n1.10"),
    ] {
        seed("texts", name, text)?;
    }
    seed(
        "texts",
        "revoked",
        format!("r# lost\ncertificate {hex}\nkey {hex} # theirs\n"),
    )?;
    seed(
        "texts",
        "attack-revoked-cut-short",
        format!("rkey {}", &hex[..60]),
    )
}
