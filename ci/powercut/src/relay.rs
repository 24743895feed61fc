//! Connects standard input and output to a TCP port; QEMU starts one for every connection of a
//! terminal.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use anyhow::Result;

/// Copies bytes both ways until either side ends.
pub fn run(port: u16) -> Result<()> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    let towards = stream.try_clone()?;
    std::thread::spawn(move || {
        pass(std::io::stdin().lock(), &towards);
        let _ = towards.shutdown(Shutdown::Write);
    });
    pass(&stream, std::io::stdout().lock());
    Ok(())
}

fn pass(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to
            .write_all(&buffer[..length])
            .and_then(|()| to.flush())
            .is_err()
        {
            return;
        }
    }
}
