//! What became of a request.

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered, complete, and with the right content.
    Right,
    /// The shop refused for a reason of its own, such as an empty shelf. No failure.
    Conflict,
    /// The visitor gave up, as the scenario wanted. No failure.
    Abandoned,
    /// A place in a waiting room. No failure: he comes again.
    Waiting,
    /// A place in a waiting room behind the one he had.
    PlaceRose,
    /// No connection could be made.
    Refused,
    /// The connection ended before an answer began.
    Reset,
    /// The answer began and broke off.
    Cut,
    /// No whole answer in time, counted from when the request was due.
    TimedOut,
    /// The handshake failed.
    Tls,
    /// Something that is no HTTP.
    Protocol,
    /// 429. A refusal.
    Limited,
    /// Another status 4xx.
    ClientError,
    /// 503 with `Retry-After`. A refusal.
    Busy,
    /// 503 without it, or another status 5xx.
    ServerError,
    /// A complete answer with something else than was asked for.
    WrongContent,
    /// A page of somebody else, or of another product.
    WrongPage,
    /// The generator had no socket or address left: its own fault.
    Own,
}

impl Fate {
    /// All, in the order of tables.
    pub(crate) const ALL: [Self; 18] = [
        Self::Right,
        Self::Conflict,
        Self::Abandoned,
        Self::Waiting,
        Self::PlaceRose,
        Self::Refused,
        Self::Reset,
        Self::Cut,
        Self::TimedOut,
        Self::Tls,
        Self::Protocol,
        Self::Limited,
        Self::ClientError,
        Self::Busy,
        Self::ServerError,
        Self::WrongContent,
        Self::WrongPage,
        Self::Own,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Conflict => "conflict",
            Self::Abandoned => "abandoned",
            Self::Waiting => "waiting",
            Self::PlaceRose => "place-rose",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Cut => "cut",
            Self::TimedOut => "timed-out",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Limited => "429",
            Self::ClientError => "4xx",
            Self::Busy => "503-retry-after",
            Self::ServerError => "5xx",
            Self::WrongContent => "wrong-content",
            Self::WrongPage => "wrong-page",
            Self::Own => "own",
        }
    }

    /// Whether a visitor would complain, and had not even been told to come again.
    pub(crate) fn is_failure(self) -> bool {
        let is_fine = matches!(
            self,
            Self::Right | Self::Conflict | Self::Abandoned | Self::Waiting
        );
        !is_fine && !self.is_refusal()
    }

    /// Whether the edge or the shop said that this was too much, and when to come again.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(self, Self::Limited | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stand_where_their_number_says() {
        for (i, fate) in Fate::ALL.iter().enumerate() {
            assert_eq!(*fate as usize, i);
        }
    }
}
