//! Certificates that are ordered where something is wrong: with the authority, or with the folder.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{
    acme_authority::{Ca, LISTENERS, Mood, has, leaf, mode, orders, shop, stored},
    edge::{Edge, Site},
    secure::Authority,
    serving::plain,
    tools::{eventually, free_address},
};

#[test]
fn challenges_that_fail_and_then_do_not() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    // Nobody listens there.
    ca.lead(&["shop.example"], free_address());
    let section = ca.section(r#"[["shop.example"]]"#, "");
    site.configure(&(plain(&shop) + LISTENERS + &section));
    let edge = Edge::start_at(site);
    eventually("failures are counted", || {
        orders(&edge, "challenge_failed") >= 2.0
    });
    let told = edge.site.dhal(&["acme", "status"]);
    assert!(!told.status.success());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("shop.example: no certificate yet; "),
        "{told}"
    );
    assert!(told.contains("the last because: "), "{told}");
    assert!(leaf(&edge, "shop.example").is_none());

    ca.lead(&["shop.example"], edge.site.http);
    has(&edge, "shop.example");
    let first = leaf(&edge, "shop.example").expect("served");

    // A renewal that fails leaves the old one in use.
    ca.lead(&["shop.example"], free_address());
    let failed = orders(&edge, "challenge_failed");
    let renewed = edge.site.dhal(&["acme", "renew", "SHOP.example"]);
    assert!(renewed.status.success(), "{renewed:?}");
    eventually("it fails", || orders(&edge, "challenge_failed") > failed);
    assert_eq!(leaf(&edge, "shop.example"), Some(first.clone()));
    eventually("it is noted", || stored(&edge, ".failed").len() == 1);

    // It is tried again by itself, although the certificate is not due.
    ca.lead(&["shop.example"], edge.site.http);
    eventually("another one", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != first)
    });
    eventually("nothing is left of it", || {
        stored(&edge, ".failed").is_empty()
    });
    let nobody = edge.site.dhal(&["acme", "renew", "sho.example"]);
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("did you mean `shop.example`?"));
}

#[test]
fn an_authority_that_is_busy_or_broken() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    ca.be(Mood::Broken);
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    eventually("it is down", || orders(&edge, "unavailable") >= 2.0);
    let (_, status) = edge.admin("GET", "/status");
    assert!(status.contains("503 Service Unavailable"), "{status}");
    assert_eq!(edge.get("/").status, 301, "and the edge serves");

    ca.be(Mood::Busy);
    eventually("it has had too many", || {
        orders(&edge, "rate_limited") >= 1.0
    });
    let (_, status) = edge.admin("GET", "/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let next = status["acme"][0]["next_order"].as_u64().expect("a time");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    assert!(next > now + 3_500, "it waits as long as it is asked to");
    assert!(
        status["acme"][0]["last_failure"]
            .as_str()
            .is_some_and(|why| { why.contains("429") && why.contains("too many certificates") })
    );

    // A restart does not forget that, once it is written down.
    eventually("it is noted", || {
        let file = stored(&edge, ".failed").pop();
        file.is_some_and(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains(&next.to_string())
        })
    });
    ca.be(Mood::Well);
    let before = ca.orders();
    edge.restart(Signal::SIGTERM);
    let (_, status) = edge.admin("GET", "/status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["acme"][0]["next_order"].as_u64(), Some(next));
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(ca.orders(), before);
    assert!(
        edge.site
            .dhal(&["acme", "renew", "shop.example"])
            .status
            .success()
    );
    has(&edge, "shop.example");
}

#[test]
fn what_lies_in_the_folder() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    has(&edge, "shop.example");
    eventually("it is stored", || stored(&edge, ".pem").len() == 1);
    let file = stored(&edge, ".pem").remove(0);
    let authority = Authority::new("Whoever");
    let write = |valid: Result<Duration, Duration>| {
        let identity = authority.identity(&["shop.example"], valid);
        let pem = identity.cert.pem() + &identity.key.serialize_pem();
        std::fs::write(&file, pem).expect("written");
        identity.cert.der().to_vec()
    };

    // It is shown before it is written down, and would be written over what a test puts there.
    let settle = |edge: &Edge| {
        eventually("what is shown is written down", || {
            let pem = std::fs::read(&file).unwrap_or_default();
            let first = CertificateDer::from_pem_slice(&pem).ok();
            first.is_some_and(|first| leaf(edge, "shop.example") == Some(first.to_vec()))
        });
    };

    // An expired one is better than none.
    ca.be(Mood::Broken);
    let old = write(Err(Duration::from_secs(60)));
    edge.restart(Signal::SIGTERM);
    assert_eq!(leaf(&edge, "shop.example"), Some(old.clone()));
    eventually("a new one is ordered", || {
        orders(&edge, "unavailable") >= 1.0
    });
    assert_eq!(leaf(&edge, "shop.example"), Some(old.clone()));
    let told = edge.site.dhal(&["acme", "status"]);
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stdout).contains("EXPIRED since"));
    ca.be(Mood::Well);
    eventually("it is renewed", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != old)
    });

    // One with an hour left of a day is due; one with most of its life left is not, unless the file says so.
    settle(&edge);
    let short = write(Ok(Duration::from_secs(3_600)));
    edge.restart(Signal::SIGTERM);
    eventually("it is renewed in time", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != short)
    });
    settle(&edge);
    let long = write(Ok(Duration::from_secs(86_400)));
    let before = ca.orders();
    edge.restart(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(
        (leaf(&edge, "shop.example"), ca.orders()),
        (Some(long.clone()), before)
    );
    let section = ca.section(r#"[["shop.example"]]"#, "renew_before = \"30h\"");
    let reloaded = edge.reload(&(plain(&shop) + LISTENERS + &section));
    assert!(reloaded.status.success(), "{reloaded:?}");
    eventually("it is due by now", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != long)
    });

    // Garbage is set aside, of the account as well.
    settle(&edge);
    std::fs::write(&file, "garbage").expect("written");
    let accounts = std::fs::read_dir(edge.site.path("acme/accounts")).expect("a folder");
    for account in accounts {
        std::fs::write(account.expect("a file").path(), "{]").expect("written");
    }
    edge.restart(Signal::SIGTERM);
    assert_eq!(stored(&edge, ".bad-").len(), 1);
    has(&edge, "shop.example");
    settle(&edge);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn the_authority_says_when_to_renew() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    ca.state.lock().expect("lock").suggests = true;
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    is_held_up(&ca, &edge, 1);
    has_rested(&mut edge, 1);
    eventually("it is renewed", || orders(&edge, "issued") == 1.0);
    let replaced = ca.state.lock().expect("lock").replaced.clone();
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    let file = stored(&edge, ".pem").remove(0);
    let series = format!(
        "dhal_acme_next_renewal_timestamp_seconds{{certificate=\"{}\"}}",
        file.display()
    );
    // Pebble's certificates live for five years, and the window is in 2035, which is too late.
    eventually("the second is not renewed at once", || {
        edge.metric(&series) > Some(1.8e9)
    });
    assert_eq!(ca.orders(), 2);
}

/// So many were ordered; the last is due already, and waits.
fn is_held_up(ca: &Ca, edge: &Edge, ordered: usize) {
    eventually("the authority wants it renewed, and that waits", || {
        let status = edge.site.dhal(&["acme", "status"]);
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        status.contains("2020 ") && status.contains("next order at")
    });
    // It looks twice a second.
    let looks = Instant::now() + Duration::from_secs(2);
    eventually("it had time for another order", || {
        assert_eq!(ca.orders(), ordered);
        Instant::now() > looks
    });
}

/// The pause after a certificate, which is the next of so many in a row, is over at the next start.
fn has_rested(edge: &mut Edge, row: u64) {
    let mut rest = Value::Null;
    eventually("it is written down", || {
        let file = stored(edge, ".issued").pop();
        let text = file.map(|file| std::fs::read(file).expect("a file"));
        rest = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
        rest["row"] == row
    });
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let pause = rest["until"].as_u64().expect("seconds") - now;
    let hours = 1 << (row - 1);
    assert!(
        (hours * 2_600..hours * 4_600).contains(&pause),
        "{row}: {pause} s"
    );
    rest["until"] = json!(now);
    let file = stored(edge, ".issued").remove(0);
    // Behind it the certificate is written, which counts only together with it.
    eventually("the certificate is, too", || {
        let pem = std::fs::read(&stored(edge, ".pem")[0]).unwrap_or_default();
        let first = CertificateDer::from_pem_slice(&pem).ok();
        first.is_some_and(|first| leaf(edge, "shop.example") == Some(first.to_vec()))
    });
    std::fs::write(&file, rest.to_string()).expect("written");
    edge.restart(Signal::SIGTERM);
}

/// An authority that would have every certificate replaced that it has just issued.
#[test]
fn a_suggestion_in_the_past_for_each_certificate() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start(&site, false) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    {
        let mut state = ca.state.lock().expect("lock");
        (state.suggests, state.insists) = (true, true);
    }
    site.configure(&(plain(&shop) + LISTENERS + &ca.section(r#"[["shop.example"]]"#, "")));
    let mut edge = Edge::start_at(site);
    is_held_up(&ca, &edge, 1);
    // Neither a restart nor a reload ends the pause.
    edge.restart(Signal::SIGTERM);
    is_held_up(&ca, &edge, 1);
    let section = ca.section(r#"[["shop.example"]]"#, "renew_before = \"30h\"");
    let reloaded = edge.reload(&(plain(&shop) + LISTENERS + &section));
    assert!(reloaded.status.success(), "{reloaded:?}");
    is_held_up(&ca, &edge, 1);
    // The next ones wait for longer each time.
    for row in 1..3 {
        has_rested(&mut edge, row);
        let ordered = usize::try_from(row).expect("a few") + 1;
        eventually("it is replaced", || orders(&edge, "issued") == 1.0);
        is_held_up(&ca, &edge, ordered);
    }
    // An operator waits for nothing.
    let renewed = edge.site.dhal(&["acme", "renew", "shop.example"]);
    assert!(renewed.status.success(), "{renewed:?}");
    eventually("it is ordered", || ca.orders() == 4);
    is_held_up(&ca, &edge, 4);
}

/// A clock that runs ahead takes what was issued for old, and an authority issues few duplicates.
#[test]
fn what_is_due_at_once_is_not_ordered_without_end() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start_with(&site, json!({ "certificateValidityPeriod": 1 })) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    let section = ca.section(r#"[["shop.example"]]"#, "");
    site.configure(&(plain(&shop) + LISTENERS + &section));
    let mut edge = Edge::start_at(site);
    let waits = |edge: &Edge| {
        eventually("it is told", || {
            let status = edge.site.dhal(&["acme", "status"]);
            let status = String::from_utf8_lossy(&status.stdout).into_owned();
            assert!(!status.contains("failed"), "{status}");
            status.contains("is the clock right?") && status.contains("next order at")
        });
        // It looks twice a second.
        let looks = Instant::now() + Duration::from_secs(3);
        eventually("it had time for more", || {
            assert_eq!(ca.orders(), 1);
            Instant::now() > looks
        });
    };
    waits(&edge);
    let told = "is to be renewed at once by this host's clock";
    assert!(edge.stderr().contains(told), "{}", edge.stderr());
    eventually("it is stored", || stored(&edge, ".pem").len() == 1);
    edge.restart(Signal::SIGTERM);
    waits(&edge);
    // The pause was an hour, and the next one is two.
    has_rested(&mut edge, 1);
    eventually("another one", || ca.orders() == 2);
    has_rested(&mut edge, 2);
}

/// An authority of one's own may issue for minutes, or less.
#[test]
fn a_short_life_is_renewed_in_time() {
    let shop = shop();
    let site = Site::new("");
    let Some(ca) = Ca::start_with(&site, json!({ "certificateValidityPeriod": 36 })) else {
        return;
    };
    ca.lead(&["shop.example"], site.http);
    // Which is not before a third of the life is over.
    let section = ca.section(r#"[["shop.example"]]"#, "renew_before = \"1h\"");
    site.configure(&(plain(&shop) + LISTENERS + &section));
    let edge = Edge::start_at(site);
    has(&edge, "shop.example");
    let first = leaf(&edge, "shop.example").expect("served");
    let begin = Instant::now();
    eventually("it is renewed", || {
        leaf(&edge, "shop.example").is_some_and(|leaf| leaf != first)
    });
    assert!(begin.elapsed() > Duration::from_secs(5), "and not at once");
    assert!(!edge.stderr().contains("clock"), "{}", edge.stderr());
}
