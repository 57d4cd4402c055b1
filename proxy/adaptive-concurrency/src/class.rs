//! What a request matters.

/// What a request matters, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody pays.
    Checkout,
    /// Somebody fills a cart.
    Cart,
    /// Somebody looks around.
    Browse,
    /// A program looks around.
    Bot,
}

impl Class {
    /// All of them, the most important first.
    pub const ALL: [Self; 4] = [Self::Checkout, Self::Cart, Self::Browse, Self::Bot];

    /// Its word in configurations, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Cart => "cart",
            Self::Browse => "browse",
            Self::Bot => "bot",
        }
    }

    /// Its place in [`Class::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}
