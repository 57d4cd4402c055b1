//! The end of a connection that says no more, but has not been heard to the end.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::listen::{
    places::{Place, Standing},
    stream::Stream,
};

/// A client that says nothing for so long after the last word has had it, or will not.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// What is read and dropped of a client that goes on.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// And for how long: the answer is out, and a client that reads has read it by then.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Sends what is left, ends our side, and drops what the client still sends: bytes that nobody reads would
/// make the system reset the connection and take the last answer with it. Where others need the room, it goes at once.
pub(super) async fn linger(stream: &mut Stream, place: &mut Place) {
    // There is no request any more, and there comes none.
    place.stand(Standing::Opening);
    let end = async {
        stream.shutdown().await.ok()?;
        let mut left = MAX_BYTES;
        let mut sink = [0; 4096];
        while let Ok(Ok(n @ 1..)) = timeout(QUIET, stream.read(&mut sink)).await {
            left = left.checked_sub(n)?;
        }
        Some(())
    };
    place.unless_shed(timeout(LONGEST, end)).await;
}
