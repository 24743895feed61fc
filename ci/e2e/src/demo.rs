//! `make demo`
pub fn run(_places: &crate::places::Places) -> anyhow::Result<()> {
    Ok(())
}
