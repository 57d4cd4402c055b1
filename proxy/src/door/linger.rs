//! The end of a connection that says no more, but has not been heard to the end.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::STALLED;
use crate::listen::stream::Stream;

/// A client that says nothing for so long after the last word has had it, or will not.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// What is read and dropped of a client that goes on.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// Sends what is left, ends our side, and drops what the client still sends: bytes that nobody reads would
/// make the system reset the connection and take the last answer with it.
pub(super) async fn linger(stream: &mut Stream) {
    let end = async {
        stream.shutdown().await.ok()?;
        let mut left = MAX_BYTES;
        let mut sink = [0; 4096];
        while let Ok(Ok(n @ 1..)) = timeout(QUIET, stream.read(&mut sink)).await {
            left = left.checked_sub(n)?;
        }
        Some(())
    };
    let _ = timeout(STALLED, end).await;
}
