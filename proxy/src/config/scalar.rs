//! Values written as strings: addresses, paths, names.

mod addresses;
mod paths;
mod requests;
mod words;

pub(super) use self::{
    addresses::{AdminEndpoint, Network, ServerAddress},
    paths::{FileMode, FilePath, FolderPath, LogPath, SOCKET_PATH_MAX},
    requests::{CookieName, QueryName, RequestPath, TOKEN},
    words::{ActionName, ClientControl, OnOff},
};

#[cfg(test)]
mod tests;
