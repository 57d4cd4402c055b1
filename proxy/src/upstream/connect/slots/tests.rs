use std::{
    future::Future,
    pin::{Pin, pin},
    sync::atomic::AtomicBool,
    task::{Context, Poll, Waker},
};

use tokio::net::{TcpListener, TcpStream};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn bounds(queue: usize) -> Connections {
    Connections {
        max: None,
        queue,
        queue_timeout: SECOND,
        lifetime: SECOND,
    }
}

fn wish(patience: Duration) -> Wish {
    Wish {
        fresh: false,
        care: Care::Once,
        now: Duration::ZERO,
        until: Instant::now() + patience,
    }
}

fn slot(got: Result<Got, Refused>) -> Slot {
    match got {
        Ok(Got::New(slot)) => slot,
        Ok(Got::Reused(_)) => panic!("one that was used"),
        Err(why) => panic!("refused: {why:?}"),
    }
}

fn connection(got: Result<Got, Refused>) -> Connection {
    match got {
        Ok(Got::Reused(connection)) => connection,
        Ok(Got::New(_)) => panic!("a new one"),
        Err(why) => panic!("refused: {why:?}"),
    }
}

/// One look at a request that waits.
fn poll<T>(waits: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn is_waiting<T>(waits: &mut Pin<&mut impl Future<Output = T>>) -> bool {
    poll(waits).is_pending()
}

fn ready<T>(waits: &mut Pin<&mut impl Future<Output = T>>) -> T {
    match poll(waits) {
        Poll::Ready(got) => got,
        Poll::Pending => panic!("it still waits"),
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_and_no_more() {
    let slots = Arc::<Slots>::default();
    let (bounds, wish) = (bounds(10), wish(SECOND));
    let first = slot(slots.acquire(2, &bounds, &wish).await);
    assert!(slots.has_room(2));
    let second = slot(slots.acquire(2, &bounds, &wish).await);
    assert!(!slots.has_room(2));
    let mut third = pin!(slots.acquire(2, &bounds, &wish));
    assert!(is_waiting(&mut third));
    assert_eq!((slots.open(), slots.waiting()), (2, 1));
    drop(first);
    assert_eq!((slots.open(), slots.waiting()), (2, 0), "handed over");
    let third = slot(ready(&mut third));
    drop((second, third));
    assert_eq!(slots.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_deadline_goes_first_and_nobody_comes_between() {
    let slots = Arc::<Slots>::default();
    let bounds = bounds(10);
    let (late, near, far) = (wish(3 * SECOND), wish(SECOND), wish(9 * SECOND));
    let taken = slot(slots.acquire(1, &bounds, &far).await);
    let mut far_one = pin!(slots.acquire(1, &bounds, &far));
    let mut late_one = pin!(slots.acquire(1, &bounds, &late));
    let mut second_late = pin!(slots.acquire(1, &bounds, &late));
    let mut near_one = pin!(slots.acquire(1, &bounds, &near));
    assert!(is_waiting(&mut far_one) && is_waiting(&mut late_one));
    assert!(is_waiting(&mut second_late) && is_waiting(&mut near_one));
    drop(taken);
    // Before the one it was given to has looked.
    let mut newcomer = pin!(slots.acquire(1, &bounds, &near));
    assert!(is_waiting(&mut newcomer));
    let taken = slot(ready(&mut near_one));
    drop(taken);
    let taken = slot(ready(&mut newcomer));
    assert!(is_waiting(&mut late_one) && is_waiting(&mut far_one));
    drop(taken);
    let taken = slot(ready(&mut late_one));
    assert!(is_waiting(&mut second_late), "of equals who came first");
    drop(taken);
    let taken = slot(ready(&mut second_late));
    drop(taken);
    drop(slot(ready(&mut far_one)));
    assert_eq!((slots.open(), slots.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_is_bounded_in_number_and_time() {
    let slots = Arc::<Slots>::default();
    let bounds = bounds(2);
    let began = Instant::now();
    let wish = wish(3 * SECOND);
    let taken = slot(slots.acquire(1, &bounds, &wish).await);
    let mut one = pin!(slots.acquire(1, &bounds, &wish));
    assert!(is_waiting(&mut one));
    {
        let mut two = pin!(slots.acquire(1, &bounds, &wish));
        assert!(is_waiting(&mut two));
        let full = slots.acquire(1, &bounds, &wish).await;
        assert_eq!(full.err(), Some(Refused::QueueFull));
    }
    assert_eq!(slots.waiting(), 1, "who gives up leaves the queue");
    assert_eq!(one.await.err(), Some(Refused::TimedOut));
    assert_eq!(began.elapsed(), 3 * SECOND);
    assert_eq!(slots.waiting(), 0);
    drop(taken);
    assert_eq!(slots.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_given_to_one_who_left_goes_to_the_next() {
    let slots = Arc::<Slots>::default();
    let (bounds, wish) = (bounds(10), wish(SECOND));
    let taken = slot(slots.acquire(1, &bounds, &wish).await);
    let mut next = pin!(slots.acquire(1, &bounds, &wish));
    {
        let mut leaves = pin!(slots.acquire(1, &bounds, &wish));
        assert!(is_waiting(&mut leaves) && is_waiting(&mut next));
        drop(taken);
    }
    drop(slot(ready(&mut next)));
    assert_eq!(slots.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lower_bound_lets_nobody_in_before_enough_are_gone() {
    let slots = Arc::<Slots>::default();
    let (bounds, wish) = (bounds(10), wish(SECOND));
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(slot(slots.acquire(3, &bounds, &wish).await));
    }
    let mut waits = pin!(slots.acquire(1, &bounds, &wish));
    assert!(is_waiting(&mut waits));
    taken.pop();
    taken.pop();
    assert!(is_waiting(&mut waits));
    assert_eq!(slots.open(), 1);
    taken.pop();
    drop(slot(ready(&mut waits)));
}

async fn pair(listener: &TcpListener, slot: Slot) -> (Connection, TcpStream) {
    let address = listener.local_addr().expect("its address");
    let mut connection = Connection::open(address, 10 * SECOND)
        .await
        .expect("connected");
    connection.slot = Some(slot);
    let (server, _) = listener.accept().await.expect("accepted");
    (connection, server)
}

fn idle(connection: Connection) -> Idle {
    Idle {
        connection,
        until: SECOND,
    }
}

#[tokio::test]
async fn idle_ones_are_anyones() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
    let slots = Arc::<Slots>::default();
    slots.set_bound(Some(1));
    let (bounds, wish) = (bounds(10), wish(30 * SECOND));
    let fresh = Wish {
        fresh: true,
        ..wish
    };
    let first = slot(slots.acquire(1, &bounds, &wish).await);
    let (one, mut end) = pair(&listener, first).await;
    slots.put(idle(one));
    assert!(slots.has_room(1));
    let one = connection(slots.acquire(1, &bounds, &wish).await);

    // Who waits gets it as it is; who wants a new one gets its place when it is closed.
    let mut waits = pin!(slots.acquire(1, &bounds, &wish));
    let mut wants_new = pin!(slots.acquire(1, &bounds, &fresh));
    assert!(is_waiting(&mut waits) && is_waiting(&mut wants_new));
    slots.put(idle(one));
    let one = connection(ready(&mut waits));
    slots.put(idle(one));
    let read = tokio::io::AsyncReadExt::read(&mut end, &mut [0; 1]).await;
    assert_eq!(read.expect("the end of the connection"), 0);
    let place = slot(ready(&mut wants_new));
    assert_eq!(slots.open(), 1);

    // An idle one makes room for one that must be new.
    let (two, mut end) = pair(&listener, place).await;
    slots.put(idle(two));
    let place = slot(slots.acquire(1, &bounds, &fresh).await);
    let read = tokio::io::AsyncReadExt::read(&mut end, &mut [0; 1]).await;
    assert_eq!(read.expect("the end of the connection"), 0);

    // One that was closed by the server is none, whether or not the runtime has heard of it.
    let (three, end) = pair(&listener, place).await;
    drop(end);
    slots.put(idle(three));
    let place = slot(slots.acquire(1, &bounds, &wish).await);
    let (four, _end) = pair(&listener, place).await;
    slots.put(idle(four));
    let late = Wish {
        now: 2 * SECOND,
        ..wish
    };
    let place = slot(slots.acquire(1, &bounds, &late).await);
    let (five, _end) = pair(&listener, place).await;
    slots.put(idle(five));
    slots.tidy(Duration::ZERO);
    assert_eq!(slots.open(), 1);
    slots.tidy(2 * SECOND);
    assert_eq!((slots.open(), slots.has_room(1)), (0, true));
}

#[test]
fn threads_share_the_bound() {
    const MAX: usize = 3;
    let slots = Arc::<Slots>::default();
    let out = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    let bounds = bounds(100);
                    let one = async {
                        for n in 0..500 {
                            let patience = if n % 7 == 0 {
                                Duration::from_micros(50)
                            } else {
                                60 * SECOND
                            };
                            let Ok(got) = slots.acquire(MAX, &bounds, &wish(patience)).await else {
                                continue;
                            };
                            let here = out.fetch_add(1, Ordering::SeqCst) + 1;
                            over.fetch_or(here > MAX, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            out.fetch_sub(1, Ordering::SeqCst);
                            drop(got);
                        }
                    };
                    let two = async {
                        for _ in 0..500 {
                            let got = slots.acquire(MAX, &bounds, &wish(60 * SECOND)).await;
                            let slot = slot(got);
                            let here = out.fetch_add(1, Ordering::SeqCst) + 1;
                            over.fetch_or(here > MAX, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            out.fetch_sub(1, Ordering::SeqCst);
                            drop(slot);
                        }
                    };
                    tokio::join!(one, two);
                });
            });
        }
    });
    assert!(!over.into_inner(), "more than {MAX} at once");
    assert_eq!((slots.open(), slots.waiting()), (0, 0), "and none is lost");
}
