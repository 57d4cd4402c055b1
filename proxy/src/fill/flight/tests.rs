//! Flights, and those who read from them.

use tokio::time::timeout;

use super::*;

const SOON: Duration = Duration::from_millis(50);

fn flight() -> Arc<Flight> {
    Arc::new(Flight::new(b"key", 0))
}

fn reader(flight: &Arc<Flight>) -> Reader {
    Reader::new(flight).expect("nothing is dropped")
}

fn piece(length: usize) -> Bytes {
    Bytes::from(vec![b'x'; length])
}

/// Everything up to the end, or to a break.
async fn all(reader: &mut Reader) -> (usize, Result<(), Broken>) {
    let mut read = 0;
    loop {
        match reader.next().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => return (read, Ok(())),
            Err(broken) => return (read, Err(broken)),
        }
    }
}

#[tokio::test]
async fn everyone_reads_all_of_it() {
    let flight = flight();
    let mut early = reader(&flight);
    assert!(flight.push(Bytes::from_static(b"abc")).await);
    assert!(flight.push(Bytes::from_static(b"def")).await);
    let mut late = reader(&flight);
    flight.end(Ok(()));
    assert_eq!(all(&mut early).await, (6, Ok(())));
    assert_eq!(all(&mut late).await, (6, Ok(())));
    assert!(flight.has(2, b"cde") && !flight.has(2, b"x") && !flight.has(5, b"fg"));
}

#[tokio::test]
async fn what_breaks_off_breaks_for_all() {
    let flight = flight();
    let mut reader = reader(&flight);
    flight.push(piece(10)).await;
    flight.end(Err(Broken));
    assert_eq!(all(&mut reader).await, (10, Err(Broken)));
    flight.end_if_open();
}

#[tokio::test]
async fn a_part_ends_where_it_ends() {
    let flight = flight();
    let mut part = reader(&flight);
    part.limit(2, 4);
    flight.push(Bytes::from_static(b"abcdefgh")).await;
    assert_eq!(part.next().await, Ok(Some(Bytes::from_static(b"cde"))));
    assert_eq!(part.next().await, Ok(None));
    // While it writes that out, the answer goes on without it.
    flight.pass();
    let mut other = reader(&flight);
    assert!(other.next().await.is_ok());
    assert_eq!(flight.progress().places.len(), 1);
}

#[tokio::test]
async fn who_comes_after_something_was_dropped_is_sent_away() {
    let flight = flight();
    flight.pass();
    let mut first = reader(&flight);
    let big = piece(WINDOW as usize);
    assert!(timeout(SOON, flight.push(big)).await.is_err());
    let mut second = reader(&flight);
    first.next().await.expect("a piece");
    second.next().await.expect("a piece");
    flight.pass();
    assert!(flight.pieces().is_empty(), "all of it is read and dropped");
    assert!(Reader::new(&flight).is_none());
    flight.end(Ok(()));
    assert_eq!(first.next().await, Ok(None));
    second.limit(0, 9);
    assert_eq!(
        second.next().await,
        Err(Broken),
        "never as if it were empty"
    );
}

#[tokio::test]
async fn the_fetch_waits_for_the_slowest() {
    let flight = flight();
    flight.pass();
    let (mut fast, mut slow) = (reader(&flight), reader(&flight));
    let big = piece(WINDOW as usize);
    assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
    fast.next().await.expect("a piece");
    assert!(timeout(SOON, flight.push(piece(1))).await.is_err());
    slow.next().await.expect("a piece");
    assert_eq!(timeout(SOON, flight.push(piece(1))).await, Ok(true));
    drop((fast, slow));
    assert!(!flight.push(piece(1)).await, "nobody is left");
}

#[tokio::test]
async fn who_keeps_others_waiting_is_left_behind() {
    let flight = flight();
    flight.pass();
    let (mut fast, mut slow, mut steady) = (reader(&flight), reader(&flight), reader(&flight));
    let big = piece(WINDOW as usize);
    assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
    // As long as nobody has to wait for more, nobody is charged.
    flight.charge(PATIENCE * 3);
    assert!(flight.progress().expelled.is_empty());
    fast.next().await.expect("a piece");
    steady.next().await.expect("a piece");
    flight.charge(PATIENCE);
    assert!(flight.progress().expelled.is_empty());
    flight.charge(STEP);
    assert_eq!(flight.progress().expelled.len(), 1);
    assert_eq!(timeout(SOON, flight.push(piece(1))).await, Ok(true));
    assert_eq!(slow.next().await, Err(Broken));
    assert!(flight.is_wanted());
    drop(fast);
    drop(steady);
    // It is still there, but nobody reckons with it.
    assert!(!flight.is_wanted());
    drop(slow);
    assert_eq!(flight.readers.load(Ordering::Acquire), 0);
    assert!(Reader::new(&flight).is_none());
}

#[tokio::test]
async fn one_alone_and_one_that_goes_on_may_be_slow() {
    let flight = flight();
    flight.pass();
    let mut alone = reader(&flight);
    let big = piece(WINDOW as usize);
    assert!(timeout(SOON, flight.push(big.clone())).await.is_err());
    flight.charge(PATIENCE * 3);
    assert!(alone.next().await.is_ok(), "it waits for itself only");
    let mut progress = flight.progress();
    // One that has taken a minute's worth may have kept others waiting for a minute.
    let place = 60 * SLOWEST;
    progress.places = BTreeSet::from([(place, 7), (place + WINDOW, 8)]);
    progress.pieces = VecDeque::from([(place, big)]);
    progress.arrived = place + WINDOW;
    assert_eq!(progress.charge(PATIENCE + Duration::from_secs(60)), 0);
    assert_eq!(progress.charge(STEP), 1);
}

#[tokio::test]
async fn what_is_in_a_file_is_read_from_there() {
    let dir = std::env::temp_dir().join(format!("dhal-flight-{}", std::process::id()));
    let files = object_files::Files::open(object_files::Options {
        path: dir.clone(),
        capacity: 1 << 20,
        max_object: 1 << 20,
    });
    let mut writer = files.expect("a directory").create().expect("a file");
    let flight = flight();
    let mut early = reader(&flight);
    flight.push(Bytes::from_static(b"abc")).await;
    assert!(early.next().await.is_ok());
    writer.append(b"abcdef").expect("written");
    flight.spool(writer.reader(), 3);
    let mut late = reader(&flight);
    flight.spooled(6);
    // The disk takes no more.
    flight.push_now(Bytes::from_static(b"ghi"));
    flight.end(Ok(()));
    assert_eq!(all(&mut early).await, (6, Ok(())));
    assert_eq!(all(&mut late).await, (9, Ok(())));
    drop(writer);
    std::fs::remove_dir_all(&dir).expect("removed");
}
