//! What is on a list, and what a file may say.

use super::*;

fn set(networks: &[&str]) -> AddressSet {
    let text = format!("{}\n", networks.join("\n"));
    AddressSet::new(networks_of(&text).expect("networks"))
}

fn networks_of(text: &str) -> Result<Vec<IpNet>, String> {
    let said = read(Path::new("list.txt"), text.as_bytes());
    said.map(|said| said.networks)
        .map_err(|why| why.to_string())
}

fn has(set: &AddressSet, address: &str) -> bool {
    set.contains(address.parse().expect("address"))
}

#[test]
fn who_is_on_a_list() {
    for (networks, within, without) in [
        (&[][..], &[][..], &["0.0.0.0", "::", "192.0.2.1"][..]),
        (
            &["192.0.2.1"],
            &["192.0.2.1", "::ffff:192.0.2.1"],
            &["192.0.2.0", "192.0.2.2", "::192.0.2.1"],
        ),
        (
            &["192.0.2.77/24"],
            &["192.0.2.0", "192.0.2.255"],
            &["192.0.1.255", "192.0.3.0"],
        ),
        (
            &["0.0.0.0/0"],
            &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"],
            &["::", "2001:db8::1"],
        ),
        (
            &["::/0"],
            &["::", "2001:db8::1"],
            &["192.0.2.1", "::ffff:192.0.2.1"],
        ),
        (
            &["::ffff:192.0.2.0/120"],
            &["192.0.2.9", "::ffff:192.0.2.9"],
            &["192.0.3.0"],
        ),
        (
            &["2001:db8::/32"],
            &["2001:db8::", "2001:db8:ffff::1"],
            &["2001:db9::", "2001:db7:ffff::"],
        ),
        (
            &["255.255.255.255", "255.255.255.254"],
            &["255.255.255.254", "255.255.255.255"],
            &["255.255.255.253"],
        ),
    ] {
        let set = set(networks);
        for address in within {
            assert!(has(&set, address), "{address} in {networks:?}");
        }
        for address in without {
            assert!(!has(&set, address), "{address} not in {networks:?}");
        }
    }
}

#[test]
fn what_overlaps_or_touches_is_one_range() {
    for (networks, ranges) in [
        (
            &["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8", "10.255.255.255"][..],
            1,
        ),
        (&["10.0.0.0/9", "10.128.0.0/9"], 1),
        (&["10.0.0.1", "10.0.0.3"], 2),
        (&["255.255.255.255", "0.0.0.0/0", "1.1.1.1"], 1),
        (&["::ffff:10.0.0.1", "10.0.0.1"], 1),
        (&["10.0.0.1", "2001:db8::/33", "2001:db8:8000::/33"], 2),
    ] {
        assert_eq!(set(networks).ranges(), ranges, "{networks:?}");
    }
    assert_eq!(set(&["10.0.0.1", "2001:db8::1"]).bytes(), 40);
}

/// Against the plain way to do it.
#[test]
fn a_search_finds_what_a_walk_finds() {
    let mut state = 0x9e37_79b9_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let networks: Vec<IpNet> = (0..300)
        .map(|_| {
            // Few bits, so that many meet.
            let address = IpAddr::from((random() & 0x0300_ffff).to_be_bytes());
            IpNet::new(address, 20 + (random() % 13) as u8).expect("a prefix")
        })
        .collect();
    let set = AddressSet::new(networks.iter().copied());
    let mut found = 0;
    for _ in 0..20_000 {
        let address = IpAddr::from((random() & 0x0300_ffff).to_be_bytes());
        let wanted = networks.iter().any(|net| net.contains(&address));
        assert_eq!(set.contains(address), wanted, "{address}");
        found += usize::from(wanted);
    }
    assert!((100..19_900).contains(&found), "{found}");
}

#[test]
fn what_a_line_may_be() {
    let text = "\u{feff}# offices\n\n  192.0.2.1  # Dhaka\r\n2001:db8::/32#x\n#\n\t10.0.0.0/8";
    assert_eq!(networks_of(text).expect("valid").len(), 3);
    assert_eq!(
        networks_of("").expect("valid"),
        [],
        "an empty file is an empty list"
    );
    for (text, wanted) in [
        (
            "10.0.0.1\nten\n",
            "list.txt:2: `ten` is no address or network",
        ),
        (
            "10.0.0.0/33",
            "list.txt:1: `10.0.0.0/33` is no address or network",
        ),
        (
            "\n\n10.0.0.1 10.0.0.2",
            "list.txt:3: `10.0.0.1 10.0.0.2` is no address or network",
        ),
        (
            "10.0.0.1-10.0.0.9",
            "list.txt:1: `10.0.0.1-10.0.0.9` is no address or network",
        ),
    ] {
        assert_eq!(networks_of(text).expect_err("wrong"), wanted);
    }
    let long = format!("# {}\n", "x".repeat(LINE_MAX));
    let why = networks_of(&long).expect_err("too long");
    assert_eq!(why, "list.txt:1: a line has at most 1024 bytes");
    let said = read(
        Path::new("list.txt"),
        &b"10.0.0.1\n10.0.0.1/8\n10.9.9.9/8\n"[..],
    );
    let said = said.expect("valid");
    let meaning = "10.0.0.1/8 means all of 10.0.0.0/8".to_owned();
    assert_eq!((said.loose, said.loose_count), (Some((2, meaning)), 2));
    let broken = read(Path::new("list.txt"), &b"10.0.0.1\n\xff\n"[..]);
    assert_eq!(
        broken.expect_err("wrong").to_string(),
        "list.txt:2: this is no UTF-8"
    );
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    use std::{os::unix::fs::symlink, sync::mpsc, thread, time::Duration};

    let folder = std::env::temp_dir().join(format!("dhal-pipes-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let (file, pipe, link) = (
        folder.join("file"),
        folder.join("pipe"),
        folder.join("link"),
    );
    fs::write(&file, "192.0.2.1\n").expect("a file");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    symlink(&pipe, folder.join("to-pipe")).expect("a link");
    symlink(&file, &link).expect("a link");
    let list = |path: PathBuf| model::AddressList {
        name: "pipes".into(),
        entries: Vec::new(),
        file: Some(path),
    };
    let (told, hears) = mpsc::channel();
    let named = [
        pipe.clone(),
        folder.join("to-pipe"),
        "/dev/zero".into(),
        folder.clone(),
    ];
    thread::spawn(move || {
        for path in named {
            let why = AddressList::new(&list(path))
                .err()
                .map(|why| why.to_string());
            told.send(why).expect("heard");
        }
        // A version was there, and a pipe takes its place before it is read.
        let opened = open(&pipe).err().map(|why| why.to_string());
        told.send(opened).expect("heard");
        let good = AddressList::new(&list(link.clone())).expect("a link to a file");
        fs::remove_file(&link).expect("removed");
        symlink(&pipe, &link).expect("a link");
        (0..3).for_each(|_| good.look());
        assert!(
            good.contains(IpAddr::from([192, 0, 2, 1])),
            "the old list stays"
        );
        told.send(good.trouble()).expect("heard");
    });
    for case in 0..6 {
        let why = hears
            .recv_timeout(Duration::from_secs(20))
            .expect("in time");
        let why = why.unwrap_or_default();
        assert!(why.contains("it is no regular file"), "{case}: {why}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}
