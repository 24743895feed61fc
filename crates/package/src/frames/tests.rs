use std::io::Cursor;

use super::*;

const MIB: usize = 1 << 20;

/// Returns the frames of a compressible image of this size, with their seek table.
fn payload(size: usize) -> Vec<u8> {
    payload_of(size, FRAME_CONTENT)
}

fn payload_of(size: usize, content: usize) -> Vec<u8> {
    let image: Vec<u8> = (0..size).map(|index| (index / 1000) as u8).collect();
    let mut bytes = Vec::new();
    let mut table = SeekTable::new();
    for piece in image.chunks(content) {
        let frame = zstd::bulk::compress(piece, 1).unwrap();
        table.push(frame.len(), piece.len());
        bytes.extend(frame);
    }
    bytes.extend(table.to_bytes());
    bytes
}

/// Decompresses the only frame in `stored`, which has `content` bytes by the seek table.
fn decode(stored: &[u8], content: usize) -> Result<Vec<u8>, FrameError> {
    let frame = Frame {
        image_offset: 0,
        content,
        stored_offset: 0,
        stored: stored.len(),
    };
    let mut image = vec![0; FRAME_CONTENT];
    let mut rest = stored;
    let found = Decoder::new()?.decode(&mut rest, &frame, &mut image)?;
    assert!(rest.is_empty());
    Ok(found.to_vec())
}

fn read_index(payload: &[u8], size: u64) -> Result<FrameIndex, FrameError> {
    FrameIndex::read(&mut Cursor::new(payload), 0, payload.len() as u64, size)
}

fn reason<T: std::fmt::Debug>(result: Result<T, FrameError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn any_byte_of_the_image_is_found() {
    let size = 9 * MIB;
    let payload = payload(size);
    let index = read_index(&payload, size as u64).unwrap();
    assert_eq!(index.frames().len(), 3);
    for (offset, start, content) in [
        (0, 0, 4 * MIB),
        (4 * MIB - 1, 0, 4 * MIB),
        (4 * MIB, 4 * MIB, 4 * MIB),
        (9 * MIB - 1, 8 * MIB, MIB),
    ] {
        let frame = index.find(offset as u64).unwrap();
        assert_eq!((frame.image_offset, frame.content), (start as u64, content));
        let stored = &payload[frame.stored_offset as usize..][..frame.stored];
        let image = decode(stored, frame.content).unwrap();
        assert_eq!(
            image,
            zstd::bulk::decompress(stored, FRAME_CONTENT).unwrap()
        );
        assert_eq!(image[offset - start], (offset / 1000) as u8);
    }
    assert_eq!(index.find(size as u64), None);
    assert_eq!(index.find(u64::MAX), None);
}

/// Valid frames of other programs: with a checksum, and with a window instead of a single segment.
#[test]
fn other_ways_to_write_a_frame_are_read() {
    let image = vec![7; MIB];
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.include_checksum(true).unwrap();
    let with_checksum = compressor.compress(&image).unwrap();
    // Magic, no single segment and content size of 4 bytes, window of 1 MiB, 1 MiB of content, a
    // last block of RLE.
    let mut by_hand = vec![0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x50, 0, 0, 0x10, 0];
    for block in 0..8 {
        let header = (128 << 10) << 3 | 1 << 1 | u32::from(block == 7);
        by_hand.extend_from_slice(&header.to_le_bytes()[..3]);
        by_hand.push(7);
    }
    assert_eq!(zstd::bulk::decompress(&by_hand, MIB).unwrap(), image);
    for frame in [with_checksum, by_hand] {
        assert!(decode(&frame, MIB).unwrap() == image);
    }
}

#[test]
fn hostile_frames() {
    let small = MIB;
    let frame = zstd::bulk::compress(&vec![7; small], 3).unwrap();
    let change = |offset: usize, value: u8| {
        let mut bytes = frame.clone();
        bytes[offset] = value;
        bytes
    };
    assert_eq!(frame[4], 0xA0, "single segment, content size of 4 bytes");
    let endless = {
        // Blocks of RLE, none of them the last, 4 bytes each.
        let mut bytes = frame[..9].to_vec();
        let block = [2, 0, 0x10, 7];
        bytes.extend(block.repeat(MAX_FRAME_STORED / 4 + 1));
        bytes
    };
    let too_much = zstd::bulk::compress(&vec![7; FRAME_CONTENT + 1], 1).unwrap();
    let streamed = zstd::stream::encode_all(&vec![7; 10][..], 1).unwrap();
    let cases = [
        ("empty", Vec::new(), "less than the seek table says"),
        ("not-zstd", b"\x1F\x8B\x08\x00".to_vec(), "not a zstd frame"),
        (
            "skippable",
            0x184D_2A50_u32.to_le_bytes().repeat(2),
            "not a zstd frame",
        ),
        (
            "header-cut-short",
            frame[..7].to_vec(),
            "inside a frame header",
        ),
        ("reserved-bit", change(4, 0xA8), "reserved bit"),
        ("dictionary", change(4, 0xA1), "dictionary"),
        ("no-content-size", streamed, "declare its content size"),
        (
            "content-larger-than-said",
            change(7, 0x11),
            "not hold as much of the image",
        ),
        (
            "content-of-4-MiB-and-1",
            too_much,
            "not hold as much of the image",
        ),
        (
            "second-frame",
            frame.repeat(2),
            "ends before the seek table says",
        ),
        (
            "cut-short",
            frame[..frame.len() - 1].to_vec(),
            "less than the seek table says",
        ),
        (
            "block-of-reserved-type",
            change(9, frame[9] | 6),
            "malformed",
        ),
        ("endless-frame", endless, "malformed"),
    ];
    for (attack, bytes, expected) in cases {
        let error = reason(decode(&bytes, small));
        assert!(error.contains(expected), "{attack}: {error}");
    }
}

#[test]
fn a_window_larger_than_a_frame_is_refused() {
    // As compressed with --long=27: 128 MiB of memory to unpack.
    let bytes = [0x28, 0xB5, 0x2F, 0xFD, 0x80, 0x88, 0, 0, 0x10, 0];
    assert!(reason(decode(&bytes, MIB)).contains("window"));
}

#[test]
fn hostile_seek_tables() {
    let size = 9 * MIB;
    let good = payload(size);
    let table = good.len() - (8 + 3 * 8 + 9);
    let change = |offset: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[offset] = value;
        bytes
    };
    let end = good.len();
    let cases = [
        ("footer-magic", change(end - 1, 0), "no seek table"),
        ("with-checksums", change(end - 5, 0x80), "no seek table"),
        (
            "frame-count",
            change(end - 9, 4),
            "not that of the image's frames",
        ),
        ("table-magic", change(table, 0), "not a skippable frame"),
        ("table-size", change(table + 4, 1), "not a skippable frame"),
        (
            "stored-zero",
            {
                let mut bytes = good.clone();
                bytes[table + 8..table + 12].fill(0);
                bytes
            },
            "no possible size",
        ),
        (
            "stored-gigabytes",
            change(table + 11, 0x7F),
            "no possible size",
        ),
        (
            "stored-one-more",
            change(table + 8, good[table + 8] ^ 1),
            "do not fill the payload",
        ),
        (
            "content-gigabytes",
            change(table + 15, 0x7F),
            "4 or 1 MiB of image",
        ),
        ("content-zero", change(table + 14, 0), "4 or 1 MiB of image"),
        ("no-table", good[..4].to_vec(), "too short"),
    ];
    for (attack, bytes, expected) in cases {
        let error = reason(read_index(&bytes, size as u64));
        assert!(error.contains(expected), "{attack}: {error}");
    }
    // An image size that no manifest may have must not allocate a table of terabytes.
    assert!(read_index(&good, u64::MAX).is_err());
}

/// A file of which nothing can be read any more after a while.
struct Failing<'a>(Cursor<&'a [u8]>, u32);

impl std::io::Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1.checked_sub(1).ok_or(std::io::ErrorKind::TimedOut)?;
        self.0.read(buffer)
    }
}

impl std::io::Seek for Failing<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_medium_that_fails_says_nothing_of_the_image() {
    // The table is read twice: first as one of frames of 4 MiB.
    let size = 9 * MIB;
    let payload = payload_of(size, SMALL_FRAME_CONTENT);
    for reads in [0, 1] {
        let mut file = Failing(Cursor::new(&payload), reads);
        let found = FrameIndex::read(&mut file, 0, payload.len() as u64, size as u64);
        assert!(
            matches!(found, Err(FrameError::Io(_))),
            "{reads}: {found:?}"
        );
    }
}
