//! Checks whether a station serves: STARTDT, as a control centre begins (IEC 60870-5-104, clause
//! 5.3).

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use super::apdu::{Apdu, Function};

/// Time limit of each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fails unless the station at `address` confirms STARTDT.
pub fn startdt(address: &str) -> Result<()> {
    let unreachable = || format!("no connection to {address}");
    let mut addresses = address.to_socket_addrs().with_context(unreachable)?;
    let target = addresses.next().with_context(unreachable)?;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).with_context(unreachable)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream
        .write_all(&Apdu::Unnumbered(Function::StartAct).encode())
        .with_context(|| format!("{address} takes no data"))?;
    let mut received = Vec::new();
    let mut buffer = [0; 256];
    loop {
        match Apdu::take(&mut received) {
            Ok(Some(Apdu::Unnumbered(Function::StartCon))) => return Ok(()),
            Ok(Some(other)) => bail!("{address} answers STARTDT with {other:?}"),
            Err(violation) => bail!("{address} sends {violation}"),
            Ok(None) => {}
        }
        let count = stream
            .read(&mut buffer)
            .with_context(|| format!("{address} does not answer STARTDT"))?;
        if count == 0 {
            bail!("{address} closes the connection at STARTDT");
        }
        received.extend_from_slice(&buffer[..count]);
    }
}
