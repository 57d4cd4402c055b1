use std::time::UNIX_EPOCH;

use super::*;

#[test]
fn folders_that_can_be_written_or_made() {
    let own = std::env::temp_dir();
    assert_eq!(writable(&own), Ok(()));
    assert_eq!(writable(&own.join("none/of/these")), Ok(()));
    let file = std::env::current_exe().unwrap();
    assert_eq!(writable(&file), Err(Errno::ENOTDIR));
    assert_eq!(writable(&file.join("store")), Err(Errno::ENOTDIR));
}

#[test]
fn times_of_certificates() {
    let day = 86_400;
    let leaf = Leaf {
        from: 100 * day,
        until: 200 * day,
    };
    for (now, expected) in [
        (0, Some("not valid yet, for 100 days")),
        (100 * day - 1, Some("not valid yet, for less than a day")),
        (100 * day, None),
        (186 * day, None),
        (186 * day + 1, Some("expires in 13 days")),
        (198 * day + 1, Some("expires in 1 day")),
        (199 * day + 1, Some("expires in less than a day")),
        (200 * day, Some("expired less than a day ago")),
        (300 * day, Some("expired 100 days ago")),
    ] {
        let at = UNIX_EPOCH + Duration::from_secs(now as u64);
        let said = validity(&leaf, at).map(|(what, _)| what);
        match (&said, expected) {
            (None, None) => {}
            (Some(said), Some(part)) => assert!(said.ends_with(part), "{now}: {said}"),
            _ => panic!("{now}: {said:?}"),
        }
    }
}
