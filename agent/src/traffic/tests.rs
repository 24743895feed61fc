//! What is on mnt when power goes is never less than what was counted.

use super::*;

fn traffic(dir: &tempfile::TempDir, monthly_limit: u64) -> Traffic {
    Traffic::new(dir.path().join("traffic.json"), monthly_limit, 0)
}

fn counts(traffic: &Traffic) -> (u64, u64) {
    let inner = traffic.lock();
    (inner.counts.month_bytes, inner.counts.job_bytes)
}

#[test]
fn power_that_goes_at_any_byte_leaves_no_less_and_little_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut real = 0;
    let mut traffic = traffic(&dir, 0);
    traffic.begin_job(7, 0, None);
    for step in [1, 700, 16_000, 90_000, 5, 2_000_000, 1, 1_400] {
        let (before, _) = counts(&traffic);
        for _ in 0..3 {
            traffic.count(step);
            real += step;
        }
        assert_eq!(counts(&traffic).0 - before, 3 * step);
        // Power goes.
        traffic = self::traffic(&dir, 0);
        let (month, job) = counts(&traffic);
        assert!(month >= real && job >= real, "{month} {job} {real}");
        assert!(month <= real + LEAD.end(), "{month} {real}");
        real = real.max(month);
    }
    traffic.save();
    let exact = counts(&traffic);
    assert_eq!(counts(&self::traffic(&dir, 0)), exact);
}

#[test]
fn a_job_is_counted_from_its_beginning_to_its_end_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let traffic = traffic(&dir, 0);
    traffic.count(500);
    traffic.begin_job(7, 0, Some(200_000));
    traffic.count(1_000);
    traffic.begin_job(7, 0, Some(300_000));
    assert_eq!((traffic.spent(7), traffic.spent(8)), (Some(1_000), None));
    traffic.save();
    let traffic = self::traffic(&dir, 0);
    assert_eq!(traffic.spent(7), Some(1_000));
    // The counts were lost, but the job file knows.
    std::fs::write(dir.path().join("traffic.json"), "{").unwrap();
    let traffic = self::traffic(&dir, 0);
    traffic.begin_job(7, 900, Some(200_000));
    assert_eq!(traffic.spent(7), Some(900));
    traffic.end_job();
    traffic.count(1);
    assert_eq!(traffic.spent(7), None);
    traffic.begin_job(8, 0, None);
    assert_eq!(traffic.spent(8), Some(0));
}

#[test]
fn the_month_is_limited_whatever_the_job_and_a_dead_clock_begins_none() {
    let dir = tempfile::tempdir().unwrap();
    let noted = r#"{"month":"2026-01","month_bytes":900000}"#;
    std::fs::write(dir.path().join("traffic.json"), noted).unwrap();
    let traffic = traffic(&dir, 1_000_000);
    traffic.begin_job(7, 0, None);
    assert!(traffic.is_limited());
    // Nothing has shown that the clock, which says a later month, is right.
    traffic.count(1);
    assert_eq!(traffic.minute_of_day(), None);
    assert!(traffic.check(Need::Request(None)).is_err());
    traffic.show(ShownTime::now());
    assert!(traffic.check(Need::Request(None)).is_ok());
    traffic.count(10);
    assert_eq!(counts(&traffic), (10, 11));
    assert!(traffic.minute_of_day().is_some());
}

#[test]
fn the_file_is_written_every_few_seconds_however_fast_traffic_is() {
    let after = |lead, seconds| next_lead(lead, Some(Duration::from_secs(seconds)));
    assert_eq!(next_lead(16 << 10, None), 16 << 10);
    assert_eq!(after(16 << 10, 0), 32 << 10);
    assert_eq!(after(1 << 20, 0), 1 << 20);
    assert_eq!(after(64 << 10, 5), 64 << 10);
    assert_eq!(after(64 << 10, 3600), 32 << 10);
}
