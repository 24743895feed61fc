//! `make bench`
pub fn run(_places: &crate::places::Places, _json: Option<&std::path::Path>) -> anyhow::Result<()> {
    Ok(())
}
