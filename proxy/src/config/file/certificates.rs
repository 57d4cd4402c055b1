//! `[[certificates]]` and `[acme]`.

use std::time::Duration;

use super::{ClientAuth, HOUR};
use crate::config::{
    acme::{CertificateName, Contact, DirectoryUrl, LETS_ENCRYPT},
    model::ChallengeKind,
    read::{List, OneOrMany, section},
    scalar::{FilePath, FolderPath},
    units::secs,
};

section! {
    /// `[[certificates]]`
    Certificate is "[[certificates]]" {
        /// PEM file with the chain, the leaf first. Needed unless there is a `folder`. It is read anew
        /// when it changes, as is the key.
        cert: FilePath;
        /// PEM file with the private key. Needed unless there is a `folder`.
        key: FilePath;
        /// Folder with any number of pairs: `NAME.pem` (or `.crt`) with `NAME.key`, or
        /// `NAME/fullchain.pem` with `NAME/privkey.pem`. In the place of `cert` and `key`.
        folder: FolderPath;
        /// Ask who comes for these names for a certificate of their own, in the place of the listener's.
        client_auth: ClientAuth;
    }
}

section! {
    /// `[acme]`
    Acme is "[acme]" {
        /// The authority's directory; Let's Encrypt's unless another is named.
        directory: DirectoryUrl, or(LETS_ENCRYPT);
        /// Whom the authority writes to: `"mailto:ops@shop.example"`, one or a list.
        contact: OneOrMany<Contact>, empty;
        /// That the authority's terms are agreed to: `true`.
        agree_tos: bool, required;
        /// Folder for the account's key and the certificates; made, for its owner alone, where it is not there.
        storage: FolderPath, required;
        /// The names of each certificate, a list of lists, one or more; none twice.
        names: List<List<CertificateName>>, required;
        /// How the authority is shown that the names lead here: `"http-01"`, at port 80, or `"tls-alpn-01"`, at
        /// port 443.
        challenge: ChallengeKind, or("http-01");
        /// PEM file with the authorities that are believed when the directory is asked, instead of the
        /// system's.
        ca_file: FilePath;
        /// One of the authority's profiles, such as `"shortlived"`; the authority chooses otherwise.
        profile: String;
        /// The account at the authority that orders count for, where it asks for one.
        eab: ExternalAccount;
        /// A certificate is renewed so long before its end, yet not in the first third of its life. Without
        /// it, when the authority suggests (RFC 9773), or after two thirds of its life.
        renew_before: Duration;
        /// Pause after an order that failed; it doubles with each further failure, up to six hours.
        retry: Duration = secs(60), secs(1)..=HOUR;
    }
}

section! {
    /// `eab` of `[acme]`
    ExternalAccount is "`eab`" {
        /// The key's identifier, from the authority.
        key_id: String, required;
        /// File with the key, in base64url as authorities hand it out.
        hmac_file: FilePath, required;
    }
}
