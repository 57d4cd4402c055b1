//! A client that sends exactly the bytes it is given and reads answers strictly.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::tools::PATIENCE;

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut found = self
            .fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).count()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `Cache-Status` without its `ttl`, or nothing.
    pub(crate) fn cache(&self) -> &str {
        let all = self.field("cache-status").unwrap_or("");
        all.split_once("; ttl=").map_or(all, |(before, _)| before)
    }

    /// The freshness left, as `Cache-Status` tells it.
    pub(crate) fn ttl(&self) -> Option<i64> {
        let mut all = self.field("cache-status")?.split("; ");
        all.find_map(|p| p.strip_prefix("ttl=")?.parse().ok())
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.cache() == "dhal; hit"
    }
}

trait Channel: Read + Write + Send {}
impl<T: Read + Write + Send> Channel for T {}

/// An HTTP/1.1 connection.
pub(crate) struct Conn {
    channel: Box<dyn Channel>,
    socket: TcpStream,
    buf: Vec<u8>,
}

impl Conn {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::plain(TcpStream::connect(address).expect("the edge accepts"))
    }

    /// From another address of this host, so as another visitor.
    pub(crate) fn open_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let source = SocketAddr::from((source, 0));
        socket.bind(&source.into()).expect("an own address");
        socket.connect(&address.into()).expect("the edge accepts");
        Self::plain(socket.into())
    }

    pub(crate) fn plain(stream: TcpStream) -> Self {
        let socket = stream.try_clone().expect("a second handle");
        Self::over(stream, socket)
    }

    /// Over a channel on top of a socket, as TLS is.
    pub(crate) fn over(channel: impl Read + Write + Send + 'static, socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        Self {
            channel: Box::new(channel),
            socket,
            buf: Vec::new(),
        }
    }

    /// Sends these bytes; an edge that has closed already is no failure here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self
            .channel
            .write_all(bytes.as_ref())
            .and_then(|()| self.channel.flush());
    }

    pub(crate) fn request(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\n");
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text);
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[]);
        self.response("GET")
    }

    pub(crate) fn response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("a complete answer")
    }

    /// The next final answer, or what is wrong with it.
    pub(crate) fn try_response(&mut self, method: &str) -> Result<Response, String> {
        loop {
            let (status, fields) = self.head()?;
            let mut response = Response {
                status,
                fields,
                body: Vec::new(),
            };
            if status == 101 {
                return Ok(response);
            }
            if status < 200 {
                continue;
            }
            let lengths = response.count("content-length");
            let chunked = response.count("transfer-encoding");
            if lengths + chunked > 1 {
                return Err("ambiguous framing".to_owned());
            }
            if method == "HEAD" || matches!(status, 204 | 304) {
                return Ok(response);
            }
            response.body = if chunked == 1 {
                self.chunked()?
            } else if let Some(length) = response.field("content-length") {
                let length = length.parse().map_err(|_| "odd content-length")?;
                self.take(length)?
            } else {
                self.rest()?
            };
            return Ok(response);
        }
    }

    /// The next head of any status.
    pub(crate) fn head(&mut self) -> Result<(u16, Vec<(String, String)>), String> {
        let line = self.line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse::<u16>().ok())
            .ok_or_else(|| format!("status line {line:?}"))?;
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, fields));
            }
            let (name, value) = line.split_once(':').ok_or("field line without a colon")?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(format!("field line {line:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn chunked(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size =
                usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
            if size == 0 {
                return match self.line()?.as_str() {
                    "" => Ok(body),
                    line => Err(format!("trailer {line:?}")),
                };
            }
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err("chunk without its end".to_owned());
            }
        }
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buf.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buf.drain(..=at).collect();
                let line = line.strip_suffix(b"\r\n").ok_or("bare LF")?;
                return String::from_utf8(line.to_vec()).map_err(|why| why.to_string());
            }
            self.more()?;
        }
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<Vec<u8>, String> {
        while self.buf.len() < n {
            self.more()?;
        }
        Ok(self.buf.drain(..n).collect())
    }

    fn more(&mut self) -> Result<(), String> {
        let mut chunk = [0; 64 * 1024];
        match self.channel.read(&mut chunk) {
            Ok(0) => Err(format!("end of connection after {:?}", self.start())),
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            // A machine that was stopped and goes on.
            Err(why) if why.kind() == ErrorKind::Interrupted => self.more(),
            Err(why) => Err(format!("{why} after {:?}", self.start())),
        }
    }

    fn start(&self) -> String {
        String::from_utf8_lossy(&self.buf[..self.buf.len().min(100)]).into_owned()
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, String> {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.channel.read(&mut chunk) {
                Ok(0) => return Ok(std::mem::take(&mut self.buf)),
                Ok(n) => self.buf.extend_from_slice(&chunk[..n]),
                Err(why) if why.kind() == ErrorKind::ConnectionReset => {
                    return Ok(std::mem::take(&mut self.buf));
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why.to_string()),
            }
        }
    }

    /// Asserts that nothing more comes and the connection ends.
    pub(crate) fn ends(&mut self) {
        let rest = self.rest().expect("the connection ends");
        assert!(
            rest.is_empty(),
            "more came: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Our end of the connection.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a connected socket")
    }

    /// Whether nothing comes and nothing ends for a moment.
    pub(crate) fn is_quiet(&mut self, moment: Duration) -> bool {
        self.socket
            .set_read_timeout(Some(moment))
            .expect("an option");
        let quiet = self.buf.is_empty()
            && matches!(self.channel.read(&mut [0; 1]), Err(why) if why.kind() == ErrorKind::WouldBlock || why.kind() == ErrorKind::TimedOut);
        self.socket
            .set_read_timeout(Some(PATIENCE))
            .expect("an option");
        quiet
    }

    /// When it is dropped, it ends with a reset.
    pub(crate) fn resets(&self) {
        let set = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
        set.expect("an option");
    }

    /// Ends our side only.
    pub(crate) fn finish(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}
