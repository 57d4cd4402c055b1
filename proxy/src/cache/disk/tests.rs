use super::*;

fn version(content: &'static str, declared: usize) -> Stored {
    let judged = Judged {
        rules: Storable {
            lifetimes: Lifetimes::default(),
            age: Duration::ZERO,
            vary: Vec::new(),
            excluded: Vec::new(),
            shared_with_credentials: false,
        },
        response_time: UNIX_EPOCH,
        stamp: Stamp::default(),
        is_told_aside: false,
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {declared}\r\n");
    let content = Bytes::from_static(content.as_bytes());
    let length = content.len() as u64;
    Stored::from_head(
        b"key",
        head.as_bytes(),
        200,
        Some(&[content]),
        length,
        judged,
    )
}

fn with_disk(test: impl FnOnce(&Disk)) {
    let path = std::env::temp_dir().join(format!("dhal-disk-{}", crate::random::next()));
    let disk = Disk::open(&model::Disk {
        path: path.clone(),
        size: 1 << 20,
        max_object: 1 << 20,
    })
    .expect("a folder");
    test(&disk);
    std::fs::remove_dir_all(&path).expect("removed");
}

fn content(disk: &Disk) -> Option<Bytes> {
    match disk.load(b"key", 1 << 20, 0)? {
        Loaded::Response(stored) => Some(stored.content()),
        Loaded::Variation(_) => None,
    }
}

#[test]
fn a_new_head_never_joins_the_content_of_another_version() {
    with_disk(|disk| {
        disk.save(&version("old", 3));
        // Of the same moment and length, and never written down before it was validated.
        let new = version("new", 3);
        assert!(disk.open_content(&new).is_none());
        let validated = version("new", 3).with_born(new.born());
        assert!(disk.save_meta(&validated));
        assert_eq!(content(disk).as_deref(), Some(&b"new"[..]));
        assert!(disk.open_content(&new).is_some());
    });
}

#[test]
fn a_head_that_declares_another_length_is_a_miss() {
    with_disk(|disk| {
        disk.save(&version("content", 6));
        assert!(content(disk).is_none());
        assert!(!disk.may_hold(b"key") || disk.load(b"key", 1 << 20, 0).is_none());
    });
}
