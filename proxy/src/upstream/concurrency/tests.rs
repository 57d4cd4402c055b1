use super::*;

const ONE: Bounds = Bounds {
    min: 1,
    max: 1,
    queue: 2,
    patience: Duration::from_secs(1),
};

fn gate() -> (Arc<Concurrency>, Instant) {
    let concurrency = Arc::new(Concurrency::default());
    concurrency.set_bounds(Some(ONE));
    (concurrency, Instant::now())
}

fn admitted(asked: Result<Asked, Failure>) -> Permit {
    match asked {
        Ok(Asked::Admitted(permit)) => permit,
        _ => panic!("there was room"),
    }
}

fn waiting(asked: Result<Asked, Failure>) -> Waiting {
    match asked {
        Ok(Asked::Waits(waiting)) => waiting,
        _ => panic!("it waits"),
    }
}

fn state(concurrency: &Concurrency) -> (usize, usize) {
    let state = concurrency.state(Duration::ZERO).expect("it is on");
    (state.at_work, state.waiting)
}

#[tokio::test(start_paused = true)]
async fn a_place_is_handed_on() {
    let (gate, started) = gate();
    let permit = admitted(gate.ask(Class::Browse, started));
    let mut page = waiting(gate.ask(Class::Browse, started));
    let mut buyer = waiting(gate.ask(Class::Checkout, started));
    assert!(matches!(gate.ask(Class::Bot, started), Err(failure) if failure.is_shed()));
    assert_eq!(state(&gate), (1, 2));
    drop(permit);
    let permit = buyer.turn().await.expect("its turn");
    assert_eq!(state(&gate), (1, 1));
    drop(permit);
    drop(page.turn().await.expect("its turn"));
    assert_eq!(state(&gate), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_there_any_more_passes_it_on() {
    let (gate, started) = gate();
    let permit = admitted(gate.ask(Class::Browse, started));
    let gone = waiting(gate.ask(Class::Checkout, started));
    let mut next = waiting(gate.ask(Class::Browse, started));
    // It has its turn, and has not looked.
    drop(permit);
    assert_eq!(state(&gate), (1, 1));
    drop(gone);
    let permit = next.turn().await.expect("its turn");
    assert_eq!(state(&gate), (1, 0));
    drop((permit, next));
    assert_eq!(state(&gate), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let (gate, started) = gate();
    let permit = admitted(gate.ask(Class::Browse, started));
    let mut late = waiting(gate.ask(Class::Cart, started));
    let since = Deadline::now();
    assert!(late.turn().await.is_err_and(|failure| failure.is_shed()));
    assert_eq!(since.elapsed().as_secs(), 1);
    let counted = |class, why| gate.sheds().any(|shed| shed == (class, why, 1));
    assert!(counted(Class::Cart, Why::Late));
    drop((permit, late));
    assert_eq!(state(&gate), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_nobody_waits() {
    let (gate, started) = gate();
    let permit = admitted(gate.ask(Class::Browse, started));
    let mut waits = waiting(gate.ask(Class::Browse, started));
    gate.set_bounds(None);
    let free = waits.turn().await.expect("no limit");
    let other = admitted(gate.ask(Class::Bot, started));
    assert!(gate.state(Duration::ZERO).is_none());
    // What was at work before counts when there is a limit again; what began in between does not.
    gate.set_bounds(Some(ONE));
    drop((free, other));
    assert_eq!(state(&gate), (1, 0));
    drop(permit);
    assert_eq!(state(&gate), (0, 0));
}

#[test]
fn what_an_answer_says() {
    for (status, retry_after, wanted) in [
        (200, false, Verdict::Answered),
        (404, false, Verdict::Answered),
        (429, true, Verdict::Answered),
        (500, false, Verdict::Unknown),
        (503, false, Verdict::Unknown),
        (503, true, Verdict::Overloaded),
        (504, false, Verdict::Overloaded),
    ] {
        assert_eq!(verdict(status, retry_after), wanted, "{status}");
    }
}
